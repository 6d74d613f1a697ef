#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=420 memory=1G cpus=2 disk=512M
#
# zswap's own writeback through the zpool driver: a group that may keep only
# little in zswap has the coldest entries mapped, decompressed, written to the
# disk and freed, while others are stored and loaded. Every byte comes back.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 8000 2000)
load_core
find_hog
disk=$(swap_disk)
zswap_on "$ZPOOL"
swap_on "$disk"

before=$(zswap_counter written_back_pages)
group=$(memcg hog $((pages / 2)))
echo $((pages * 4096 / 10)) >"$group/memory.zswap.max"
in_memcg "$group" "$HOG" --pages "$pages" --touches $((pages / 2)) &
hog=$!
peak_while $hog zswap_counter stored_pages
expect_success $hog "pages came back wrong, or the hog failed"
expect_no_oom_kill "$group"

written=$(($(zswap_counter written_back_pages) - before))
note "$PEAK pages in zswap at the peak, $written written back to the disk"
[ "$written" -ge $((pages / 20)) ] ||
	fail "zswap wrote only $written pages back, so its writeback was not tested"

swapoff "$disk"
wait_until 20 "zswap still holds $(zswap_counter stored_pages) pages after swapoff" zswap_is_empty
zswap_off
finish
