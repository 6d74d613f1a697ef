#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=debug timeout=1800 memory=1G cpus=2 disk=512M
#
# What debug_all.sh leaves out, for make test to take a quarter of an hour.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

run_tests switch_under_load zram_one_slot zswap_writeback both_frontends zram_reset_smaller \
	cpu_hotplug bad_input unload_reload moving_destroy
finish
