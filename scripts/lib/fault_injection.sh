# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Fault injection in a guest, for the scripts that source this.

FAULT_KNOBS=(/sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc)

# can_inject_failures: whether this kernel can let allocations fail.
can_inject_failures() {
	[ -d "${FAULT_KNOBS[0]}" ] && [ -d "${FAULT_KNOBS[1]}" ]
}

# inject_failures: lets a task fail any allocation of its own (fail-nth in its
# /proc), also single pages and those that may sleep.
inject_failures() {
	local knob
	for knob in "${FAULT_KNOBS[@]}"; do
		echo N >"$knob/ignore-gfp-wait"
		echo 0 >"$knob/verbose"
	done
	echo N >"${FAULT_KNOBS[1]}/ignore-gfp-highmem"
	echo 0 >"${FAULT_KNOBS[1]}/min-order"
}
