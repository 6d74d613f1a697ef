#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal timeout=420 memory=1G cpus=2
#
# zram is reset and set up again, smaller each time and then large again, while
# writers and readers hammer it (bug 22 of the list in Documentation/testing.rst):
# pools are destroyed and made under load, and nothing of the old contents or
# sizes is left over.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

rounds=$(pick 24 8)
load_zram 1
find_hog
sys=/sys/block/zram0
head -c 512K /dev/urandom >"$WORK/data"
cat "$HOG" >>"$WORK/data"
truncate -s 1M "$WORK/data"

# Opens the device for each access only, so that resets find gaps; errors are
# expected while there is no disk or it is smaller.
hammer() {
	local at=0 written=0 read=0
	while [ ! -e "$WORK/stop" ]; do
		dd if="$WORK/data" of=/dev/zram0 bs=64k seek=$((at % 512)) oflag=direct status=none 2>/dev/null &&
			written=$((written + 1))
		dd if=/dev/zram0 of=/dev/null bs=64k skip=$(((at + 7) % 512)) count=16 iflag=direct status=none 2>/dev/null &&
			read=$((read + 1))
		at=$((at + 37))
	done
	note "$written times written, $read times read"
	[ "$written" -ge "$rounds" ] || fail "so few writes are no load"
	[ "$read" -ge "$rounds" ] || fail "so few reads are no load"
}

# reset_now: refused while somebody has the device open; try until it works.
reset_now() {
	write_to $sys/reset 1 2>/dev/null
}

echo 64M >$sys/disksize
hammer &
one=$!
hammer &
two=$!

sizes=(48 32 16 8 4 64)
for ((i = 0; i < rounds; i++)); do
	size=${sizes[i % ${#sizes[@]}]}
	sleep "$(pick 0.3 1)"
	wait_until 60 "zram cannot be reset" reset_now
	echo "${size}M" >$sys/disksize || fail "zram cannot be set to ${size}M again"
	[ "$(cat $sys/disksize)" = $((size << 20)) ] || fail "zram is $(cat $sys/disksize) bytes and was set to ${size}M"
done
touch "$WORK/stop"
expect_success $one "the first writer failed"
expect_success $two "the second writer failed"
note "$rounds resets under load"

wait_until 60 "zram cannot be reset" reset_now
if [ "$ZSRS_PROVIDER" = ours ]; then
	expect_ours_zero
fi

# And it still keeps data.
echo 16M >$sys/disksize
dd if="$WORK/data" of=/dev/zram0 bs=64k conv=fsync oflag=direct status=none
dd if=/dev/zram0 bs=64k count=16 iflag=direct status=none | cmp - "$WORK/data" ||
	fail "zram gave back other bytes than were written"
echo 1 >$sys/reset
unload_zram
finish
