#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=420 memory=1G cpus=2 disk=512M append="cgroup_disable=memory"
#
# Without memory cgroups (bug 20 of the list in Documentation/testing.rst):
# zswap on zsmalloc_rs works the same.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

! grep -qw memory "$CGROUP/cgroup.controllers" ||
	fail "this kernel has memory cgroups: it was not started with cgroup_disable=memory"
pages=$(pick 20000 3000)
load_core
find_hog
disk=$(swap_disk)
zswap_on "$ZPOOL"
swap_on "$disk"

"$HOG" --pages "$pages" --touches $((pages / 2)) --pageout &
hog=$!
peak_while $hog zswap_counter stored_pages
expect_success $hog "pages came back wrong, or the hog failed"
note "$PEAK of $pages pages in zswap at the peak"
[ "$PEAK" -ge $((pages / 2)) ] || fail "only $PEAK pages were in zswap at the peak: nothing was tested"

swapoff "$disk"
wait_until 20 "zswap still holds $(zswap_counter stored_pages) pages after swapoff" zswap_is_empty
zswap_off
finish
