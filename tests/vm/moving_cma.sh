#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal,numa timeout=900 memory=512M cpus=2 append=cma=224M
#
# Contiguous memory is allocated where objects lie: their pages must go, at rest
# and while they are used, and no byte may change.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

cma=$DEBUGFS/cma/reserved
[ -d "$cma" ] || skip "this kernel has no CMA area (CONFIG_CMA_DEBUGFS, cma= on the command line)"
find_blocks
blocks=$(pick 30000 12000)
busy=$(pick 10000 2000)
seconds=$(pick 20 40)
load_zram 2
zram_size zram0 $((blocks * 4 / 1024 + 1))
zram_size zram1 $((busy * 4 / 1024 + 1))
expect_blocks_notices /dev/zram1
area=$(cat "$cma/count")

# cma_used: pages of the area that CMA itself has handed out.
cma_used() {
	cat "$cma/used"
}

# give_back: all of it.
give_back() {
	local used
	used=$(cma_used)
	[ "$used" = 0 ] || echo "$used" >"$cma/free"
}

# Everything at rest, and all of the area wanted at once. Movable pages go to the
# area first while more than half of the free memory is there.
echo 3 >/proc/sys/vm/drop_caches
"$BLOCKS" fill /dev/zram0 --blocks "$blocks"
echo 3 >/proc/sys/vm/drop_caches
vm_events
tries=0
until echo "$area" >"$cma/alloc" 2>"$WORK/refusal"; do
	tries=$((tries + 1))
	[ $tries -lt 5 ] || fail "CMA could not have its $area pages back: $(cat "$WORK/refusal")"
	nap 0.5
done
[ "$(cma_used)" = "$area" ] || fail "CMA has $(cma_used) of $area pages and said that it has all"
note "all $area pages allocated at try $((tries + 1)); $(vm_event pgmigrate_success) pages moved, $(vm_event pgmigrate_fail) not"
if [ "$ZSRS_PROVIDER" = ours ]; then
	moved=$(pool zram0 pages_migrated)
	note "$moved of ours, $(pool zram0 migrations_refused) refused"
	[ "$moved" -gt 0 ] || fail "no page of ours was in the area: nothing was tested"
	[ "$(pool zram0 migrations_refused)" = 0 ] || fail "pages of objects that nobody used were refused"
fi
"$BLOCKS" check /dev/zram0 --blocks "$blocks" || fail "objects came back wrong"
give_back

# The same piece by piece, over and over, while objects are used.
"$BLOCKS" storm /dev/zram1 --blocks "$busy" --threads 2 --seconds "$seconds" &
storm=$!
piece=$((area / 8))
had=0
refused=0
vm_events
while kill -0 $storm 2>/dev/null; do
	if echo $piece >"$cma/alloc" 2>/dev/null; then
		had=$((had + 1))
	else
		refused=$((refused + 1))
	fi
	# Time for objects to come back to it.
	if [ $(((had + refused) % 8)) = 0 ]; then
		give_back
		nap 1
	fi
done
expect_success $storm "objects came back wrong, or the storm failed"
give_back
note "in the storm $had pieces of $piece pages allocated and $refused refused; $(vm_event pgmigrate_success) pages moved, $(vm_event pgmigrate_fail) not"
if [ "$ZSRS_PROVIDER" = ours ]; then
	moved=$(pool zram1 pages_migrated)
	note "of the pages in use $moved moved, $(pool zram1 migrations_refused) times an object was in use"
	[ "$moved" -gt 0 ] || fail "no page in use was in the area: nothing was tested"
fi
[ "$had" -gt 0 ] || fail "no piece of the area could be had while objects were used"
"$BLOCKS" check /dev/zram0 --blocks "$blocks" || fail "objects came back wrong"

echo 1 >/sys/block/zram0/reset
echo 1 >/sys/block/zram1/reset
unload_zram
finish
