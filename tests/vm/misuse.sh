#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal soak=debug,rt timeout=240 memory=1G cpus=2
# vm: allow_splat="'WARNING: .* rust_helper_warn'"
#
# Wrong input from other modules (bugs 11 and 26 of the list in
# Documentation/testing.rst): runs the KUnit suite zsrs_misuse, whose warnings
# are expected, and counts them.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs"
suite=$DEBUGFS/kunit/zsrs_misuse

load_ours
insmod "$ZSRS_BUILD/tests/kunit/zsrs_misuse_kunit.ko"
cat "$suite/results"
# insmod succeeds whatever the tests say.
grep -q '^ok 1 zsrs_misuse' "$suite/results" || fail "cases of zsrs_misuse failed, see above"
rmmod zsrs_misuse_kunit

# expect_message COUNT TEXT: how often the kernel log must have it.
dmesg >"$WORK/log"
expect_message() {
	local is
	is=$(grep -cF -- "$2" "$WORK/log" || true)
	[ "$is" = "$1" ] || fail "the kernel log has \"$2\" $is times, expected $1"
	note "$1 times: $2"
}
expect_message 3 "zsmalloc_rs: free of a handle that is not allocated"
expect_message 3 "zsmalloc_rs: map of a handle that is not allocated"
expect_message 2 "zsmalloc_rs: unmap of an object that is not mapped"
expect_message 1 "zsmalloc_rs: free of an object that is mapped"
expect_message 2 "zsmalloc_rs: free of a handle of another pool"
expect_message 3 "zsmalloc_rs: map in an interrupt"
expect_message 1 "zsmalloc_rs: map of a second object that spans pages on one CPU"
expect_message 3 "zsmalloc_rs: a number that is no handle: not a multiple of 8"
expect_message 4 "zsmalloc_rs: memory of a free object was written to, or beyond an object's end"
expect_message 22 "WARNING: CPU"
# A pool with objects: their number and their class's size.
expect_message 1 "pool with_objects: destroyed with 5 objects of class 2 (64 bytes)"
expect_message 1 "pool with_objects: destroyed with 1 objects of class 254 (4096 bytes)"

expect_message 1 "pool with_objects: 2 pages stay allocated, and the module loaded"

# The pages of that pool lead into the module, which must not go, then.
if rmmod zsmalloc_rs 2>"$WORK/rmmod"; then
	fail "zsmalloc_rs was unloaded while pages refer to it"
fi
grep -q "in use" "$WORK/rmmod" || fail "rmmod said: $(cat "$WORK/rmmod")"
echo 1 >/proc/sys/vm/compact_memory
note "passed"
