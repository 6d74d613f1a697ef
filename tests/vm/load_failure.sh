#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=debug timeout=600 memory=1G cpus=2
#
# Each allocation that loading the module makes fails once (bug 23 of the list in
# Documentation/testing.rst): the load is refused and leaves nothing, or succeeds
# without what is not needed.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=scripts/lib/fault_injection.sh
. "$ROOT/scripts/lib/fault_injection.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs"
can_inject_failures || skip "this kernel cannot inject failures: CONFIG_FAILSLAB is off"
[ "$(uname -m)" = x86_64 ] || skip "knows where x86_64 has its modules only"

inject_failures
# Only what is allocated for code of modules: require-start and require-end of 6.12.
for knob in "${FAULT_KNOBS[@]}"; do
	echo 0xffffffffa0000000 >"$knob/require-start"
	echo 0xffffffffff000000 >"$knob/require-end"
	echo 32 >"$knob/stacktrace-depth"
done

python3 "$TESTS/load_failure.py" "$OURS" zsmalloc_rs >"$WORK/loads" || {
	cat "$WORK/loads" >&2
	fail "a load that failed left something, see above"
}
cat "$WORK/loads"
refused=$(sed -n 's/^\([0-9]*\) loads were refused.*/\1/p' "$WORK/loads")
[ "$refused" -ge 3 ] || fail "only $refused loads were refused: are failures injected at all?"
# Enabled first: until then zswap takes any name.
echo Y >"$ZSWAP/enabled"
must_fail "a zpool whose module was never loaded" write_to "$ZSWAP/zpool" zsmalloc_rs
load_ours
zswap_on zsmalloc_rs
zswap_off
note "$refused loads were refused, and nothing of them was left"
finish
