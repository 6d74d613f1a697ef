#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal,numa timeout=900 memory=512M cpus=2
#
# Pools are destroyed while the kernel moves their pages, compacts them and asks
# their shrinkers, and their files are read (bug 4 of the list in
# Documentation/testing.rst): destroying waits for all of these, and nothing is
# left behind, neither pages nor work.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

# read_statistics: the files of the pool, if it is there.
read_statistics() {
	local file
	for file in "$DEBUGFS/zsmalloc_rs/zram0/stats" "$DEBUGFS/zsmalloc_rs/zram0/classes"; do
		# Without a program: see nap.
		{ while read -r _; do :; done <"$file"; } 2>/dev/null || true
	done
}

rounds=$(pick 24 12)
blocks=$(pick 2000 800)
find_blocks
load_zram 2
mover 0.02 compact_memory
mover 0.05 shrink
mover 0.01 read_statistics
moved=0
for ((i = 0; i < rounds; i++)); do
	zram_size zram0 $((blocks * 4 / 1024 + 1))
	"$BLOCKS" fill /dev/zram0 --blocks "$blocks" --seed "$i" >/dev/null
	"$BLOCKS" punch /dev/zram0 --blocks "$blocks" --seed "$i" >/dev/null
	compact_pool zram0 &
	compactor=$!
	[ $((i % 2)) = 0 ] || nap 0.05
	wait $compactor
	[ "$ZSRS_PROVIDER" != ours ] || moved=$((moved + $(pool zram0 pages_migrated)))
	echo 1 >/sys/block/zram0/reset
done
stop_movers
note "$rounds pools destroyed, of which $moved pages had moved"
[ "$ZSRS_PROVIDER" != ours ] || [ "$moved" -gt 0 ] || fail "no page moved: nothing was tested"
unload_zram
finish
