#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal,gcc,rt,arm64,kcsan timeout=420 memory=1G cpus=2 disk=512M
#
# Memory is swapped through zswap on zsmalloc_rs and every byte comes back; the
# pool empties, and nothing is left after unloading.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

pages=$(pick 30000 3000)
load_core
find_hog
disk=$(swap_disk)

for compressor in $(pick "lzo lz4 zstd" lzo); do
	zswap_on "$ZPOOL" "$compressor"
	swap_on "$disk"
	# The group holds a third of the pages, and what zswap charges to it.
	group=$(memcg hog $((pages * 2 / 3)))

	in_memcg "$group" "$HOG" --pages "$pages" --touches $((pages / 2)) &
	hog=$!
	peak_while $hog zswap_counter stored_pages
	expect_success $hog "pages came back wrong, or the hog failed"
	expect_no_oom_kill "$group"
	# The hog's pages have 4096 bytes.
	PEAK=$((PEAK * $(getconf PAGESIZE) / 4096))
	note "$compressor: $PEAK of $pages pages in zswap at the peak," \
		"$(value "$group/memory.stat" zswpout) out, $(value "$group/memory.stat" zswpin) in"
	[ "$PEAK" -ge $((pages / 4)) ] ||
		fail "only $PEAK pages were in zswap at the peak, less than a quarter of $pages: nothing was tested"

	swapoff "$disk"
	wait_until 20 "zswap still holds $(zswap_counter stored_pages) pages after swapoff" zswap_is_empty
	rmdir "$group"
done

zswap_off
finish
