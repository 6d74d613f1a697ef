#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=builtin timeout=240 memory=1G cpus=2 disk=512M
#
# A kernel with C zsmalloc built in (CONFIG_ZSMALLOC=y): zsmalloc-rs.ko loads
# beside it and works as a zpool; the shim is not built.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

c_is_builtin || fail "this kernel has zsmalloc as a module: run this test with flavour builtin"
[ ! -e "$SHIM" ] || fail "$SHIM was built although CONFIG_ZSMALLOC=y: both export zs_*"

pages=20000
load_ours
find_hog
disk=$(swap_disk)
swap_on "$disk"

for type in zsmalloc zsmalloc_rs; do
	zswap_on $type
	group=$(memcg hog $((pages * 2 / 3)))
	in_memcg "$group" "$HOG" --pages $pages --touches $((pages / 2)) &
	hog=$!
	peak_while $hog zswap_counter stored_pages
	expect_success $hog "$type: pages came back wrong, or the hog failed"
	expect_no_oom_kill "$group"
	note "$type: $PEAK of $pages pages in zswap at the peak"
	[ "$PEAK" -ge $((pages / 4)) ] || fail "$type: only $PEAK pages were in zswap: nothing was tested"
	rmdir "$group"
done

swapoff "$disk"
must_fail "unloading zsmalloc_rs while zswap uses it" rmmod zsmalloc_rs
zswap_off

# zram keeps working on the built-in one.
modprobe zram 2>"$WORK/modprobe" || fail "zram does not load on the built-in zsmalloc: $(cat "$WORK/modprobe")"
echo 16M >/sys/block/zram0/disksize
head -c 1M /dev/urandom >"$WORK/data"
dd if="$WORK/data" of=/dev/zram0 bs=64k conv=fsync oflag=direct status=none
dd if=/dev/zram0 bs=64k count=16 iflag=direct status=none | cmp - "$WORK/data" ||
	fail "zram on the built-in zsmalloc gave back other bytes than were written"
[ "$(ours words_live)" = 0 ] || fail "zram's objects are counted in zsmalloc_rs"
rmmod zram
finish
