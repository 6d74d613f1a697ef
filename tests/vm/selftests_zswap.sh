#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal,debug timeout=1800 memory=1G cpus=2 disk=512M append=kmemleak=off
#
# The kernel's own test of zswap, tools/testing/selftests/cgroup/test_zswap, on
# C zsmalloc and on ours: the same results, and none failed. One of its cases
# takes all free memory, which kmemleak does not survive.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

program=$ROOT/out/vm-tests/selftests/test_zswap
[ -x "$program" ] || fail "$program was not built: run 'scripts/kernel build normal' and 'tests/vm/prepare'"
disk=$(swap_disk)

# run_on PROVIDER: the results are in $WORK/PROVIDER.
run_on() {
	use_provider "$1"
	load_core
	zswap_on "$ZPOOL"
	swap_on "$disk"
	note "test_zswap on $ZPOOL"
	"$program" >"$WORK/$1.all" 2>&1 || true
	cat "$WORK/$1.all"
	sed -nE 's/^(ok|not ok) [0-9]+ /\1 /p' "$WORK/$1.all" >"$WORK/$1"
	swapoff "$disk"
	zswap_off
	unload_core
}

run_on c
run_on ours
[ "$(grep -c '^ok' "$WORK/c")" -ge 7 ] || fail "test_zswap does not pass on C zsmalloc, so it says nothing here"
diff "$WORK/c" "$WORK/ours" || fail "test_zswap ends otherwise on ours (>) than on C zsmalloc (<)"
! grep '^not ok' "$WORK/ours" || fail "test_zswap fails on both"
! grep SKIP "$WORK/ours" || fail "test_zswap skips cases"
note "$(wc -l <"$WORK/ours") cases, the same results on both"
finish
