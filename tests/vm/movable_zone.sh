#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=300 memory=1G cpus=2 disk=512M append=movablecore=400M
#
# Where a part of memory holds nothing but movable pages, objects lie there:
# zswap asks for such pages only of a zpool type that says it supports them, and
# zram always does. The zone's count follows.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

pages=$(pick 20000 3000)

# movable_zspages: pages of zspages that the zone counts.
movable_zspages() {
	echo 1 >/proc/sys/vm/stat_refresh
	awk '/^Node/ { movable = $NF == "Movable" } movable && $1 == "nr_zspages" { sum += $2; found = 1 }
		END { print sum + 0; exit !found }' /proc/zoneinfo || fail "this machine has no movable zone"
}

# expect_movable WHAT ALL MOVABLE: nearly all pages are in the movable zone.
expect_movable() {
	note "$1: $3 of $2 pages of zspages are in the movable zone"
	[ "$2" -gt $((pages / 10)) ] || fail "$1 has only $2 pages of zspages: nothing was tested"
	[ "$3" -ge $(($2 * 9 / 10)) ] || fail "$1: $3 of $2 pages of zspages are in the movable zone"
}

[ "$(movable_zspages)" = 0 ] || fail "the movable zone counts $(movable_zspages) pages of zspages before there are pools"
find_hog
find_blocks
disk=$(swap_disk)
load_zram 1

types=$ZPOOL
[ "$ZSRS_PROVIDER" = c ] || types="$ZPOOL zsmalloc"
for type in $types; do
	zswap_on "$type"
	swap_on "$disk"
	group=$(memcg hog $((pages * 2 / 3)))
	in_memcg "$group" "$HOG" --pages "$pages" --touches $((pages / 2)) &
	hog=$!
	peak_while $hog movable_zspages
	expect_success $hog "pages came back wrong, or the hog failed"
	movable=$PEAK
	expect_no_oom_kill "$group"
	out=$(value "$group/memory.stat" zswpout)
	note "zswap on $type: $out pages went out, at the peak $movable pages of zspages were in the movable zone"
	[ "$out" -ge $((pages / 4)) ] || fail "zswap took only $out pages: nothing was tested"
	[ "$movable" -ge $((pages / 20)) ] || fail "zswap on $type: at most $movable pages of zspages were in the movable zone"
	swapoff "$disk"
	wait_until 20 "zswap still holds $(zswap_counter stored_pages) pages after swapoff" zswap_is_empty
	rmdir "$group"
done
zswap_off

zram_size zram0 $((pages * 4 / 1024 + 1))
"$BLOCKS" fill /dev/zram0 --blocks "$pages"
expect_movable zram "$(nr_zspages)" "$(movable_zspages)"
"$BLOCKS" check /dev/zram0 --blocks "$pages" || fail "objects came back wrong"
echo 1 >/sys/block/zram0/reset
unload_zram
[ "$(movable_zspages)" = 0 ] || fail "the movable zone counts $(movable_zspages) pages of zspages when no pool is left"
finish
