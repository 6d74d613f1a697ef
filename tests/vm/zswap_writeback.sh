#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal timeout=900 memory=1G cpus=2 disk=512M
#
# zswap's own writeback through the zpool driver: entries are mapped,
# decompressed, written to the disk and freed, for each reason that zswap has.
# What was written back is read from the disk later and compared, and the pool
# gives pages back to the system. On the normal kernel the same is done on C
# zsmalloc, and ours must give back no less.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 12000 8000)
find_hog
disk=$(swap_disk)

vmstat() {
	value /proc/vmstat "$1"
}

pool_pages() {
	echo $(($(zswap_counter pool_total_size) / 4096))
}

hog_has_filled() {
	grep -q filled "$WORK/hog"
}

# hold GROUP: a hog whose pages are swapped out; HELD is its process.
hold() {
	rm -f "$WORK/hog"
	in_memcg "$1" "$HOG" --pages "$pages" --hold --pageout >"$WORK/hog" &
	HELD=$!
	wait_until 200 "the hog has not filled its memory" hog_has_filled
}

# release WHAT GROUP: the hog reads all its pages and compares them. READ is how
# many of them came from the disk: those that are written back stay in the swap
# cache until they are reclaimed.
release() {
	echo "$((pages * 4096))" >"$2/memory.reclaim" 2>/dev/null || true
	READ=$(vmstat pswpin)
	kill -TERM "$HELD"
	expect_success "$HELD" "$1: pages came back wrong, or the hog failed"
	READ=$(($(vmstat pswpin) - READ))
}

# start PROVIDER: zswap on it, with a swap disk.
start() {
	use_provider "$1"
	load_core
	echo 20 >"$ZSWAP/max_pool_percent"
	echo 90 >"$ZSWAP/accept_threshold_percent"
	echo N >"$ZSWAP/shrinker_enabled"
	zswap_on "$ZPOOL"
	swap_on "$disk"
}

stop() {
	swapoff "$disk"
	wait_until 20 "zswap still holds $(zswap_counter stored_pages) pages after swapoff" zswap_is_empty
	zswap_off
	unload_core
}

# A group that may keep only little in zswap, and works meanwhile: its coldest
# entries go to the disk while others are stored and loaded.
group_limit() {
	local before group written
	before=$(zswap_counter written_back_pages)
	group=$(memcg limited $((pages / 3)))
	echo $((pages * 4096 / 20)) >"$group/memory.zswap.max"
	in_memcg "$group" "$HOG" --pages $((pages / 2)) --touches $((pages / 4)) &
	HELD=$!
	peak_while $HELD zswap_counter stored_pages
	expect_success $HELD "$1: pages came back wrong, or the hog failed"
	expect_no_oom_kill "$group"
	written=$(($(zswap_counter written_back_pages) - before))
	note "$1: memory.zswap.max: $PEAK pages at the peak, $written written back"
	[ "$written" -ge $((pages / 40)) ] ||
		fail "$1: zswap wrote only $written pages back, so its writeback was not tested"
	rmdir "$group"
}

# The same limit where writeback is forbidden: nothing may reach the disk.
group_without_writeback() {
	local group out written
	out=$(vmstat pswpout)
	group=$CGROUP/forbidden
	mkdir "$group"
	echo 0 >"$group/memory.zswap.writeback"
	echo $((pages * 4096 / 20)) >"$group/memory.zswap.max"
	hold "$group"
	out=$(($(vmstat pswpout) - out))
	written=$(value "$group/memory.stat" zswpwb)
	note "$1: memory.zswap.writeback=0: $(zswap_counter stored_pages) pages stored, $written written back, $out on the disk"
	[ "$(zswap_counter stored_pages)" -ge $((pages / 40)) ] || fail "$1: nothing was stored, so nothing was tested"
	[ "$written:$out" = 0:0 ] || fail "$1: pages of a group without writeback went to the disk"
	release "$1" "$group"
	rmdir "$group"
}

# shrunk_below PAGES: one attempt. zswap's worker gives up after some entries
# that were used since it looked last, as all are at first; each store that is
# refused starts it again. It takes thousands of them, more on a busy machine.
shrunk_below() {
	"$HOG" --pages 1024 --touches 1 --pageout >/dev/null || fail "pages came back wrong, or the hog failed"
	[ "$(pool_pages)" -le "$1" ]
}

# The limit of the whole pool: stores are refused and entries written back
# until it is down to the accept threshold.
pool_limit() {
	local before hits limit group written
	before=$(zswap_counter written_back_pages)
	hits=$(zswap_counter pool_limit_hit)
	echo 1 >"$ZSWAP/max_pool_percent"
	echo 60 >"$ZSWAP/accept_threshold_percent"
	limit=$(awk '/^MemTotal/ { print int($2 / 4 / 100) }' /proc/meminfo)
	group=$CGROUP/pool_limit
	mkdir "$group"
	hold "$group"
	hits=$(($(zswap_counter pool_limit_hit) - hits))
	[ "$hits" -gt 0 ] || fail "$1: the pool never reached its limit of $limit pages"
	wait_until 300 "$1: the pool has $(pool_pages) of $limit pages and does not shrink to 62 %" \
		shrunk_below $((limit * 62 / 100))
	written=$(($(zswap_counter written_back_pages) - before))
	note "$1: the limit of $limit pages was hit $hits times; $written pages were written back, $(pool_pages) are left in the pool"
	[ "$written" -ge $((pages / 40)) ] || fail "$1: only $written pages were written back"
	release "$1" "$group"
	[ "$READ" -ge "$written" ] || fail "$1: $written pages were written back, but only $READ read from the disk"
	rmdir "$group"
	echo 20 >"$ZSWAP/max_pool_percent"
	echo 90 >"$ZSWAP/accept_threshold_percent"
}

# zswap's shrinker, as the kernel calls it for want of memory. RETURNED: pages
# that the pool gave back for each 1,000 entries written back.
shrinker() {
	local before after stored group written i
	echo Y >"$ZSWAP/shrinker_enabled"
	group=$CGROUP/shrinker
	mkdir "$group"
	hold "$group"
	stored=$(zswap_counter stored_pages)
	written=$(zswap_counter written_back_pages)
	before=$(nr_zspages)
	for ((i = 0; i < 100; i++)); do
		echo 2 >/proc/sys/vm/drop_caches
		[ "$(zswap_counter stored_pages)" -gt $((stored / 2)) ] || break
	done
	written=$(($(zswap_counter written_back_pages) - written))
	after=$(nr_zspages)
	RETURNED=$(((before - after) * 1000 / (written > 0 ? written : 1)))
	note "$1: shrinker: of $stored pages stored, $written were written back; the pool shrank from $before to $after pages"
	[ "$written" -ge $((stored / 10)) ] || fail "$1: the shrinker wrote only $written of $stored pages back"
	[ "$after" -lt "$before" ] || fail "$1: the pool did not shrink"
	echo N >"$ZSWAP/shrinker_enabled"
	release "$1" "$group"
	[ "$READ" -ge "$written" ] || fail "$1: $written pages were written back, but only $READ read from the disk"
	rmdir "$group"
}

all_on() {
	start "$1"
	group_limit "$1"
	group_without_writeback "$1"
	pool_limit "$1"
	shrinker "$1"
	stop
}

all_on ours
ours=$RETURNED
if ! on_debug; then
	all_on c
	note "pages given back for 1,000 entries written back: ours $ours, C $RETURNED"
	[ $((ours * 100)) -ge $((RETURNED * 97)) ] ||
		fail "for 1,000 entries written back ours gave back $ours pages, C zsmalloc $RETURNED"
fi
finish
