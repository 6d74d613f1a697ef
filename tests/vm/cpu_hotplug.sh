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

group=$(memcg hog $((pages * 2 / 3)))
in_memcg "$group" "$HOG" --pages $((pages / 2)) --seed 1 --seconds 3600 &
first=$!
in_memcg "$group" "$HOG" --pages $((pages / 2)) --seed 2 --seconds 3600 &
second=$!
wait_until 200 "nothing was swapped out" zswap_holds $((pages / 8))
before=$(value "$group/memory.stat" zswpout)
for ((i = 0; i < rounds; i++)); do
	echo 0 >"$online"
	sleep 0.2
	echo 1 >"$online"
	sleep 0.2
done
moved=$(($(value "$group/memory.stat" zswpout) - before))
kill -TERM $first $second
expect_success $first "pages came back wrong, or the first hog failed"
expect_success $second "pages came back wrong, or the second hog failed"
expect_no_oom_kill "$group"
note "a CPU went and came $rounds times while $moved pages were stored"
[ "$moved" -ge $((pages / 4)) ] || fail "only $moved pages were stored meanwhile: there was no load"

swapoff "$disk"
zswap_off
finish
