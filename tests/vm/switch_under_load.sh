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

start_two_hogs "$pages"
pause=$(pick 0.2 1)
for ((i = 0; i < switches; i++)); do
	type=${types[i % ${#types[@]}]}
	echo "$type" >"$ZSWAP/zpool" || fail "switch $i, to $type, was refused"
	[ "$(cat "$ZSWAP/zpool")" = "$type" ] || fail "switch $i: zswap says $(cat "$ZSWAP/zpool") instead of $type"
	sleep "$pause"
	expect_two_hogs "at switch $i"
done
stop_two_hogs
note "$switches switches while $STORED pages were stored; $(ours pools) pools of ours are left"
[ "$STORED" -ge "$pages" ] || fail "only $STORED pages were stored during the switches: there was no load"

swapoff "$disk"
zswap_off
if ! c_is_builtin; then
	unload zsmalloc
fi
finish
