#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=debug timeout=1800 memory=1G cpus=2 disk=512M
#
# The most important tests one after the other in one boot of the debug kernel
# (KASAN, lockdep, DEBUG_VM, kmemleak), which takes longer to start than most
# tests take on the normal one. More of them are in debug_rest.sh.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

run_tests zswap_smoke zram_smoke moving_storm load_failure
finish
