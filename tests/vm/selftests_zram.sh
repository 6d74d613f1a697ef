#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal,debug timeout=1800 memory=1G cpus=2
#
# The kernel's own tests of zram, tools/testing/selftests/zram, on C zsmalloc
# and on the shim: the same results, and none failed.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

tests=$ROOT/out/vm-tests/selftests/zram
[ -d "$tests" ] || fail "$tests is missing: run 'scripts/kernel build normal' and 'tests/vm/prepare'"

# They fork dd almost two thousand times; busybox's starts far faster over 9p.
mkdir "$WORK/bin"
cp "$(command -v busybox)" "$WORK/bin/busybox"
ln -s busybox "$WORK/bin/dd"

# run_on PROVIDER: the results are in $WORK/PROVIDER. The tests add a second
# disk to the one that is there.
run_on() {
	use_provider "$1"
	load_zram 1
	note "zram.sh on $1"
	cp -r "$tests" "$WORK/run"
	(cd "$WORK/run" && PATH=$WORK/bin:$PATH bash zram.sh) >"$WORK/$1.all" 2>&1 ||
		fail "zram.sh ended with status $?: $(cat "$WORK/$1.all")"
	cat "$WORK/$1.all"
	rm -r "$WORK/run"
	grep -E 'OK$|FAIL|PASS' "$WORK/$1.all" | sed -E 's/ratio: .*:1/ratio/' >"$WORK/$1"
	unload_zram
	unload_core
}

run_on c
run_on ours
[ "$(grep -c '\[PASS\]' "$WORK/c")" = 2 ] || fail "zram.sh does not pass on C zsmalloc, so it says nothing here"
diff "$WORK/c" "$WORK/ours" || fail "zram.sh ends otherwise on ours (>) than on C zsmalloc (<)"
! grep FAIL "$WORK/ours" || fail "zram.sh fails on both"
note "$(wc -l <"$WORK/ours") results, the same on both"
finish
