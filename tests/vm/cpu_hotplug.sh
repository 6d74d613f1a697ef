#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal timeout=300 memory=1G cpus=2 disk=512M
#
# A CPU goes and comes back while programs swap (bug 18 of the list in
# Documentation/testing.rst): per-CPU buffers and magazines are handed over,
# nothing is lost with the CPU.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

online=/sys/devices/system/cpu/cpu1/online
[ -e "$online" ] || skip "this kernel cannot take a CPU away (CONFIG_HOTPLUG_CPU)"
pages=$(pick 12000 2000)
rounds=$(pick 30 8)
load_core
find_hog
disk=$(swap_disk)
zswap_on "$ZPOOL"
swap_on "$disk"

start_two_hogs "$pages"
for ((i = 0; i < rounds; i++)); do
	echo 0 >"$online"
	sleep 0.2
	echo 1 >"$online"
	sleep 0.2
done
stop_two_hogs
note "a CPU went and came $rounds times while $STORED pages were stored"
[ "$STORED" -ge $((pages / 4)) ] || fail "only $STORED pages were stored meanwhile: there was no load"

swapoff "$disk"
zswap_off
finish
