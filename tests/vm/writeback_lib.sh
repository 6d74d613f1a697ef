# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by the tests of the allocator's own writeback, after lib.sh: the
# client, samples/zsrs_store.c, and what it counts.

[ "$ZSRS_PROVIDER" = ours ] || skip "C zsmalloc of 6.12 has no writeback"
store=$ZSRS_BUILD/samples/zsrs_store.ko
[ -e "$store" ] || fail "$store is missing: build it with 'scripts/modules $FLAVOUR'"
stats=$DEBUGFS/zsrs_store/stats

# counter KEY: one of the client's.
counter() {
	value "$stats" "$1"
}
