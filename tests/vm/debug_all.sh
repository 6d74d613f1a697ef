#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=debug timeout=1800 memory=1G cpus=2 disk=512M
#
# Other tests, smaller, one after the other in one boot of the debug kernel
# (KASAN, lockdep, DEBUG_VM, kmemleak): starting that kernel takes longer than
# most of them. The rest of them is in debug_rest.sh.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

run_tests zswap_smoke zram_smoke switch_under_load zram_one_slot
finish
