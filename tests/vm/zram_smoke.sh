#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal,gcc,rt,arm64,bare timeout=420 memory=1G cpus=2
#
# An unmodified zram.ko on the shim: as a disk (raw bytes, then a file system),
# and as the swap device. Everything read must be what was written.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 30000 3000)
load_zram 1
find_hog
sys=/sys/block/zram0

# mm_stat N: field N of zram's memory statistics (1: original bytes, 2:
# compressed bytes, 3: bytes of memory used).
mm_stat() {
	awk -v n="$1" '{ print $n }' $sys/mm_stat
}

# start ALGORITHM: zram0, with room for all the test's pages.
start() {
	echo "$1" >$sys/comp_algorithm
	echo "$((pages * 8))K" >$sys/disksize
}

# classes_add_up: what debugfs says of all classes is what it says of the pool.
classes_add_up() {
	local pool=$DEBUGFS/zsmalloc_rs/zram0 pages
	objects=$(value "$pool/stats" objects)
	pages=$(value "$pool/stats" pages)
	[ "$(awk '$1 == "Total" { print $14, $15 }' "$pool/classes")" = "$objects $pages" ]
}

note "raw bytes"
start lzo
# Real bytes of which some compress and some do not.
head -c "$(pick 24M 2M)" /dev/urandom >"$WORK/data"
cat "$HOG" "$TESTS"/*.sh "$SHIM" >>"$WORK/data" 2>/dev/null || cat "$HOG" >>"$WORK/data"
truncate -s %4096 "$WORK/data"
dd if="$WORK/data" of=/dev/zram0 bs=64k conv=fsync oflag=direct status=none
dd if=/dev/zram0 bs=64k iflag=direct status=none count="$(stat -c %s "$WORK/data")B" |
	cmp - "$WORK/data" || fail "zram gave back other bytes than were written"
# Overwritten in place by the same data one page further on: frees and stores.
dd if="$WORK/data" of=/dev/zram0 bs=4k seek=1 conv=fsync oflag=direct status=none
dd if=/dev/zram0 bs=4k skip=1 iflag=direct status=none count="$(stat -c %s "$WORK/data")B" |
	cmp - "$WORK/data" || fail "zram gave back other bytes than were written over older ones"
used=$(mm_stat 3)
[ "$used" -gt 0 ] || fail "zram holds data and reports no memory used"
note "$(mm_stat 1) bytes in $(mm_stat 2), memory used $used"
if [ "$ZSRS_PROVIDER" = ours ]; then
	wait_until 20 "in debugfs, the classes have other numbers of objects and pages than the pool" classes_add_up
	[ "$objects" -gt 0 ] || fail "in debugfs, the pool has no objects"
fi
echo 1 >$sys/reset

note "a file system"
start lzo
mkfs.ext4 -q /dev/zram0
mkdir "$WORK/mnt"
mount /dev/zram0 "$WORK/mnt"
mkdir "$WORK/mnt/copy"
cp -r "$TESTS" "$WORK/data" "$WORK/mnt/copy"
umount "$WORK/mnt"
mount /dev/zram0 "$WORK/mnt"
cmp "$WORK/data" "$WORK/mnt/copy/data"
diff -r "$TESTS" "$WORK/mnt/copy/$(basename "$TESTS")" || fail "files on zram differ from the originals"
rm -r "$WORK/mnt/copy"
umount "$WORK/mnt"
e2fsck -fn /dev/zram0 >"$WORK/fsck" 2>&1 || fail "the file system on zram is damaged: $(cat "$WORK/fsck")"
echo 1 >$sys/reset
rm "$WORK/data"

for algorithm in $(pick "lzo lz4 zstd" lzo); do
	start "$algorithm"
	swap_on /dev/zram0
	group=$(memcg hog $((pages / 3)))
	in_memcg "$group" "$HOG" --pages "$pages" --touches $((pages / 2)) &
	hog=$!
	peak_while $hog mm_stat 1
	expect_success $hog "pages came back wrong, or the hog failed"
	expect_no_oom_kill "$group"
	note "swap on $algorithm: $((PEAK / 4096)) of $pages pages at the peak"
	[ $((PEAK / 4096)) -ge $((pages / 4)) ] ||
		fail "only $((PEAK / 4096)) pages were in zram at the peak, less than a quarter of $pages: nothing was tested"
	swapoff /dev/zram0
	echo 1 >$sys/reset
	rmdir "$group"
done

unload_zram
finish
