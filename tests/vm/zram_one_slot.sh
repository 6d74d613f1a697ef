#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=240 memory=1G cpus=2
#
# Several writers and readers on the same few pages of zram (bug 17 of the list
# in Documentation/testing.rst): no read sees half of two writes, and no
# overwritten object stays behind.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

slots=4
load_zram 1
echo 16M >/sys/block/zram0/disksize
/usr/bin/python3 -B "$TESTS/one_slot.py" /dev/zram0 "$(pick 8 15)" || fail "a read returned what nobody wrote"

if [ "$ZSRS_PROVIDER" = ours ]; then
	live=$(value "$DEBUGFS/zsmalloc_rs/zram0/stats" objects)
	note "$live objects live"
	[ "$live" -le "$slots" ] || fail "$live objects live in $slots slots: overwritten ones were not freed"
fi
echo 1 >/sys/block/zram0/reset
unload_zram
finish
