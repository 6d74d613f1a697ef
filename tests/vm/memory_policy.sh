#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=numa timeout=300 memory=1G cpus=2 nodes=2
#
# Objects of a task that has a memory policy lie where that says, as C's do, and
# those of others on the node of the CPU that they run on.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ -d /sys/devices/system/node/node1 ] || skip "this machine has one memory node: run it with --nodes 2"
find_blocks
blocks=4000
load_zram 1
zram_size zram0 $((blocks * 4 / 1024 + 1))

# bound_to NODE COMMAND...: with the memory policy MPOL_BIND.
bound_to() {
	/usr/bin/python3 - "$@" <<'PYTHON'
import ctypes, os, sys
SET_MEMPOLICY, MPOL_BIND = 238, 2
mask = ctypes.c_ulong(1 << int(sys.argv[1]))
if ctypes.CDLL(None).syscall(SET_MEMPOLICY, MPOL_BIND, ctypes.byref(mask), 64):
    sys.exit("set_mempolicy failed")
os.execvp(sys.argv[2], sys.argv[2:])
PYTHON
}

# expect_on NODE: nearly all pages of zspages are there.
expect_on() {
	local all here
	all=$(nr_zspages)
	here=$(zspages_on "$1")
	note "$here of $all pages of zspages are on node $1"
	[ "$all" -gt $((blocks / 8)) ] || fail "only $all pages of zspages: this tests nothing"
	[ "$here" -ge $((all * 95 / 100)) ] || fail "only $here of $all pages of zspages are on node $1"
}

note "a task on node 0 without a policy"
taskset -c 0 "$BLOCKS" fill /dev/zram0 --blocks "$blocks"
expect_on 0
echo 1 >/sys/block/zram0/reset
zram_size zram0 $((blocks * 4 / 1024 + 1))

note "a task on node 0 that is bound to node 1"
bound_to 1 taskset -c 0 "$BLOCKS" fill /dev/zram0 --blocks "$blocks"
expect_on 1

unload_zram
finish
