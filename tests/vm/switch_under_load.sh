#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal,gcc,rt,arm64,kcsan timeout=480 memory=1G cpus=2 disk=512M
#
# The type of zswap's pool is changed again and again while programs swap:
# pages stored in one allocator are loaded from it while new ones go to the
# next, and pools are destroyed in the middle of the load (bug 21 of the list
# in Documentation/testing.rst).
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 20000 3000)
switches=$(pick 60 20)
[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs beside C zsmalloc"
load_core
types=(zsmalloc_rs zbud)
if c_is_builtin; then
	types+=(zsmalloc)
else
	load_c
	types+=(zsmalloc zsmalloc_rs)
fi
find_hog
disk=$(swap_disk)
zswap_on zsmalloc_rs
swap_on "$disk"

group=$(memcg hog $((pages * 2 / 3)))
in_memcg "$group" "$HOG" --pages $((pages / 2)) --seed 1 --seconds 3600 &
first=$!
in_memcg "$group" "$HOG" --pages $((pages / 2)) --seed 2 --seconds 3600 &
second=$!
wait_until 200 "nothing was swapped out" \
	zswap_holds $((pages / 8))

pause=$(pick 0.2 1)
before=$(value "$group/memory.stat" zswpout)
for ((i = 0; i < switches; i++)); do
	type=${types[i % ${#types[@]}]}
	echo "$type" >"$ZSWAP/zpool" || fail "switch $i, to $type, was refused"
	[ "$(cat "$ZSWAP/zpool")" = "$type" ] || fail "switch $i: zswap says $(cat "$ZSWAP/zpool") instead of $type"
	sleep "$pause"
	kill -0 $first || fail "the first hog ended early, at switch $i"
	kill -0 $second || fail "the second hog ended early, at switch $i"
done
moved=$(($(value "$group/memory.stat" zswpout) - before))
note "$switches switches while $moved pages were stored; $(ours pools) pools of ours are left"
[ "$moved" -ge "$pages" ] || fail "only $moved pages were stored during the switches: there was no load"

kill -TERM $first $second
expect_success $first "pages came back wrong, or the first hog failed"
expect_success $second "pages came back wrong, or the second hog failed"
expect_no_oom_kill "$group"

swapoff "$disk"
zswap_off
if ! c_is_builtin; then
	unload zsmalloc
fi
finish
