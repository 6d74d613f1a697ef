#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=420 memory=1G cpus=2 disk=512M
#
# Both front ends at once: zswap swaps through a pool of zsmalloc_rs while
# files are written to and read from a zram disk on the shim.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 20000 3000)
[ "$ZSRS_PROVIDER" = ours ] || skip "C zsmalloc has one front end type only"
load_core
load_zram 1
find_hog
disk=$(swap_disk)
zswap_on "$ZPOOL"
swap_on "$disk"

echo "$((pages * 4))K" >/sys/block/zram0/disksize
head -c "$(pick 16M 2M)" /dev/urandom >"$WORK/data"
cat "$HOG" >>"$WORK/data"
truncate -s %4096 "$WORK/data"
bytes=$(stat -c %s "$WORK/data")

group=$(memcg hog $((pages * 2 / 3)))
in_memcg "$group" "$HOG" --pages "$pages" --touches "$pages" &
hog=$!

rounds=0 most_pools=0
while kill -0 $hog 2>/dev/null; do
	# Each round at another offset, so that old objects are replaced.
	at=$((rounds % 8))
	dd if="$WORK/data" of=/dev/zram0 bs=4k seek=$at conv=fsync oflag=direct status=none
	dd if=/dev/zram0 bs=4k skip=$at iflag=direct status=none count="${bytes}B" |
		cmp - "$WORK/data" || fail "zram gave back other bytes than were written while zswap was in use"
	rounds=$((rounds + 1))
	pools=$(ours pools)
	[ "$pools" -le "$most_pools" ] || most_pools=$pools
done
expect_success $hog "pages came back wrong, or the hog failed"
expect_no_oom_kill "$group"
out=$(value "$group/memory.stat" zswpout)
note "$rounds rounds through zram while zswap took $out pages; $most_pools pools at once"
[ "$rounds" -ge 1 ] || fail "zram was not used while zswap was"
[ "$out" -ge $((pages / 4)) ] || fail "zswap took only $out pages: nothing was tested"
[ "$most_pools" -ge 2 ] || fail "two front ends must be two pools, at most $most_pools were counted"

swapoff "$disk"
echo 1 >/sys/block/zram0/reset
unload_zram
zswap_off
finish
