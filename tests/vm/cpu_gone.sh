#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=120 memory=1G cpus=2
#
# What a CPU keeps for itself is handed over when it goes: free words and
# descriptors, whose pages are given back then, and its bounce buffer, which it
# gets anew when it comes back. (With load: cpu_hotplug.)
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

# kept: pages of words and of descriptors.
kept() {
	echo $(($(ours word_pages) + $(ours zspage_pages)))
}

[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs"
online=/sys/devices/system/cpu/cpu1/online
[ -e "$online" ] || fail "this kernel cannot take a CPU away: build it with CONFIG_HOTPLUG_CPU"
find_blocks
load_zram 1
# All words and descriptors are taken and freed on CPU 1.
echo N >/sys/module/zsmalloc_rs/parameters/background_compaction
taskset -pc 1 $$ >"$WORK/taskset"
zram_size zram0 48
"$BLOCKS" fill /dev/zram0 --blocks 12000
"$BLOCKS" check /dev/zram0 --blocks 12000 || fail "objects came back wrong"
used=$(kept)
echo 1 >/sys/block/zram0/reset
taskset -pc 0 $$ >"$WORK/taskset"

pages=$(kept)
bytes=$(ours metadata_bytes)
[ "$(ours words_live)" = 0 ] || fail "$(ours words_live) words are in use without a pool"
[ "$(ours word_pages)" -gt 0 ] || fail "CPU 1 has kept no words: nothing was tested"
[ "$(ours zspage_pages)" -gt 0 ] || fail "CPU 1 has kept no descriptors: nothing was tested"
# It keeps a few, and pages that have none of these were given back.
[ "$pages" -lt $((used / 2)) ] || fail "of $used pages of words and descriptors $pages are left without a pool"

echo 0 >"$online"
note "$used pages of words and descriptors in use; then with CPU 1 $pages pages of free words and descriptors, $bytes bytes beside objects; without $(kept), $(ours metadata_bytes)"
[ "$(kept)" = 0 ] || fail "$(kept) pages of free words and descriptors stay when the CPU that had them is gone"
[ "$(ours metadata_bytes)" = $((bytes - 4096 * (pages + 1))) ] ||
	fail "the CPU's buffer was not given back: $(ours metadata_bytes) bytes of $bytes, with $pages pages, are left"
echo 1 >"$online"
[ "$(ours metadata_bytes)" = $((bytes - 4096 * pages)) ] ||
	fail "the CPU has no buffer when it is back: $(ours metadata_bytes) bytes"
unload_zram
finish
