#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal,debug,kcsan timeout=900 memory=512M cpus=2
#
# Storm: objects are written, read, compared and freed on two CPUs while
# everything that can moves them: memory compaction, compaction of the pool by
# hand, shrinkers, and a memory cgroup that swaps to a second pool. STORM_S
# seconds (60). No byte may be wrong, nothing may be left behind, and objects and
# pages must really have moved.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "the counters of C zsmalloc do not tell what moved"
seconds=${STORM_S:-60}
blocks=$(pick 8000 3000)
pages=$(pick 2000 600)
find_hog
find_blocks
load_zram 2
zram_size zram0 $((blocks * 4 / 1024 + 1))
zram_size zram1 $((pages * 4 / 1024 + 1))
expect_blocks_notices /dev/zram0
swap_on /dev/zram1

vm_events
group=$(memcg hog $((pages * 2)))
# Not memory.max: compaction isolates pages by the dozen here, and reclaim that
# finds none for a moment would have the kernel kill the hog.
echo $((pages * 2048)) >"$group/memory.high"
in_memcg "$group" "$HOG" --pages "$pages" --seed 3 --seconds "$seconds" &
hog=$!
mover 0.05 compact_memory
mover 0.05 compact_pool zram0
mover 0.1 compact_pool zram1
mover 1 shrink
mover 0.3 watch_pool zram0
"$BLOCKS" storm /dev/zram0 --blocks "$blocks" --threads 2 --seconds "$seconds" &
storm=$!
expect_success $storm "objects came back wrong, or the storm failed"
expect_success $hog "swapped pages came back wrong, or hog failed"
stop_movers
expect_no_oom_kill "$group"

for key in pages_migrated migrations_refused pages_compacted; do
	note "$key: $(pool zram0 $key) of $(pool zram0 pages) pages, swap: $(pool zram1 $key)"
done
for key in pgmigrate_success pgmigrate_fail compact_fail drop_slab; do
	note "$key: $(vm_event $key)"
done
[ "$(vm_event drop_slab)" -gt 0 ] || fail "no shrinker was asked"
for key in pages_migrated pages_compacted; do
	[ "$(pool zram0 $key)" -ge "$seconds" ] ||
		fail "$key is only $(pool zram0 $key) after $seconds seconds: there was no storm"
done

swapoff /dev/zram1
echo 1 >/sys/block/zram0/reset
echo 1 >/sys/block/zram1/reset
rmdir "$group"
unload_zram
finish
