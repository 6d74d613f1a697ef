#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=numa timeout=900 memory=1G cpus=2 nodes=2 append=kernelcore=512M
#
# The memory of node 1 goes off and on line, block by block, with objects on it,
# at rest and in use: their pages move to where there is memory, the zones'
# counts follow, and no byte changes. (kernelcore leaves blocks on each node that
# hold nothing but movable pages; the others may refuse.)
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ -d /sys/devices/system/node/node1 ] || skip "this machine has one memory node: run it with --nodes 2"
find_blocks
blocks=$(pick 40000 20000)
busy=4000
seconds=${STORM_S:-60}
load_zram 2
zram_size zram0 $((blocks * 4 / 1024 + 1))
zram_size zram1 $((busy * 4 / 1024 + 1))
expect_blocks_notices /dev/zram1

# expect_zones: the zones' counts add up to what the pools have.
expect_zones() {
	local zones pages
	[ "$ZSRS_PROVIDER" = ours ] || return 0
	zones=$(($(zspages_on 0) + $(zspages_on 1)))
	pages=$(ours pages_live)
	[ "$zones" = "$pages" ] || fail "the zones count $zones pages of zspages, the pools have $pages"
}

# memory_blocks: of node 1.
memory_blocks() {
	find /sys/devices/system/node/node1/ -maxdepth 1 -name 'memory[0-9]*' | sort -V
}

# set_state BLOCK STATE: true if it took it.
set_state() {
	echo "$2" 2>/dev/null >"$1/state"
}

mapfile -t all < <(memory_blocks)
[ ${#all[@]} -gt 1 ] || fail "node 1 has ${#all[@]} memory blocks: nothing can go"

# At rest: one block after the other goes, all that can.
taskset -c 1 "$BLOCKS" fill /dev/zram0 --blocks "$blocks"
on_node=$(zspages_on 1)
note "$on_node of $(nr_zspages) pages of zspages are on node 1, in ${#all[@]} blocks"
[ "$on_node" -gt $(($(nr_zspages) / 2)) ] || fail "the objects are not on node 1"
expect_zones
vm_events
gone=()
for block in "${all[@]}"; do
	if set_state "$block" offline; then
		gone+=("$block")
	else
		note "${block##*/} holds pages of the kernel and stays"
	fi
done
note "${#gone[@]} blocks went; $(vm_event pgmigrate_success) pages moved, $(vm_event pgmigrate_fail) not; $(zspages_on 1) are still on node 1"
[ ${#gone[@]} -gt 0 ] || fail "no block of node 1 could go"
expect_zones
if [ "$ZSRS_PROVIDER" = ours ]; then
	note "$(pool zram0 pages_migrated) pages of ours moved, $(pool zram0 migrations_refused) times an object was in use"
	[ "$(pool zram0 pages_migrated)" -gt 0 ] || fail "no page of ours moved: nothing was tested"
	[ "$(pool zram0 migrations_refused)" = 0 ] || fail "pages of objects that nobody used were refused"
fi
"$BLOCKS" check /dev/zram0 --blocks "$blocks" || fail "objects came back wrong"
for block in "${gone[@]}"; do
	set_state "$block" online_movable || fail "${block##*/} does not come back"
done

# In use: blocks go and come while objects are written, read and freed, and while
# memory and pool are compacted.
taskset -c 1 "$BLOCKS" storm /dev/zram1 --blocks "$busy" --threads 2 --seconds "$seconds" &
storm=$!
# In turns with blocks that go: the kernel's compaction, in the middle of a block that has gone, reads
# descriptors that are poisoned by then (seen in isolate_migratepages_block()).
mover 0.3 flock "$WORK/blocks" bash -c "echo 1 >/proc/sys/vm/compact_memory"
mover 0.1 compact_pool zram1
went=0
stayed=0
vm_events
while kill -0 $storm 2>/dev/null; do
	for block in "${gone[@]}"; do
		if timeout 20 flock "$WORK/blocks" bash -c "echo offline 2>/dev/null >$block/state"; then
			went=$((went + 1))
			set_state "$block" online_movable || fail "${block##*/} does not come back"
		else
			stayed=$((stayed + 1))
		fi
		kill -0 $storm 2>/dev/null || break
	done
done
expect_success $storm "objects came back wrong, or the storm failed"
stop_movers
note "in the storm blocks went $went times and could not $stayed times; $(vm_event pgmigrate_success) pages moved, $(vm_event pgmigrate_fail) not"
if [ "$ZSRS_PROVIDER" = ours ]; then
	note "of ours $(pool zram1 pages_migrated) pages in use moved, $(pool zram1 migrations_refused) times an object was in use"
fi
[ "$went" -gt 0 ] || fail "no block could go while objects were used"
expect_zones
"$BLOCKS" check /dev/zram0 --blocks "$blocks" || fail "objects came back wrong"

echo 1 >/sys/block/zram0/reset
echo 1 >/sys/block/zram1/reset
unload_zram
finish
