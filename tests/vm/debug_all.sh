#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=debug timeout=1800 memory=1G cpus=2 disk=512M
#
# The other tests, smaller, one after the other in one boot of the debug kernel
# (KASAN, lockdep, DEBUG_VM, kmemleak): starting that kernel takes longer than
# most of them. kmemleak scans once, after the last one.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ -e "$DEBUGFS/kmemleak" ] || fail "this kernel has no kmemleak: run this test with flavour debug"
tests=(zswap_smoke zram_smoke both_frontends zswap_writeback switch_under_load
	zram_reset_smaller zram_one_slot cpu_hotplug bad_input unload_reload)
skipped=0

for test in "${tests[@]}"; do
	note "$test"
	status=0
	ZSRS_LEAKS=later bash "$TESTS/$test.sh" || status=$?
	case $status in
	0) ;;
	77) skipped=$((skipped + 1)) ;;
	*) fail "$test" ;;
	esac
done
[ "$skipped" -lt "${#tests[@]}" ] || skip "all of ${tests[*]} were skipped"
finish
