#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal soak=debug timeout=240 memory=1G cpus=2
#
# When memory runs short the kernel asks shrinkers for pages, and ours compacts:
# here as writing to drop_caches does it, with all other compaction off.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "reads statistics of zsmalloc_rs"
find_blocks
blocks=$(pick 4000 1000)
load_zram 1
echo N >/sys/module/zsmalloc_rs/parameters/background_compaction
stats=$DEBUGFS/zsmalloc_rs/zram0/stats
zram_size zram0 $((blocks * 4 / 1024 + 1))
"$BLOCKS" fill /dev/zram0 --blocks "$blocks"
"$BLOCKS" punch /dev/zram0 --blocks "$blocks"
sleep 2
before=$(value "$stats" pages)
can=$(value "$stats" compactable_pages)
[ "$(value "$stats" pages_compacted)" = 0 ] || fail "there was compaction before anybody asked for it"
[ "$(value "$stats" pages_compacted_background)" = 0 ] || fail "there was compaction in the background, which is off"
[ "$can" -gt "$((before / 10))" ] || fail "only $can of $before pages can be won: this tests nothing"

note "the kernel asks for memory"
echo 2 >/proc/sys/vm/drop_caches
after=$(value "$stats" pages)
won=$(value "$stats" pages_compacted)
note "of $before pages, $can of which could be won, $won were given back; $after are left"
[ "$won" -ge "$((can / 2))" ] || fail "the shrinker gave back $won pages where $can could be won"
# What zram knows of it, by zs_pool_stats().
told=$(awk '{ print $7 }' /sys/block/zram0/mm_stat)
[ "$told" = "$won" ] || fail "zram shows $told pages given back, not $won"
[ "$after" = "$((before - won))" ] || fail "$before pages less $won are not $after"

"$BLOCKS" check /dev/zram0 --blocks "$blocks" --punched || fail "blocks came back wrong"
unload_zram
finish
