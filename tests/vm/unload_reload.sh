#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=600 memory=1G cpus=2 disk=256M
#
# Unloading (bug 24 of the list in Documentation/testing.rst): refused while
# zswap or zram has a pool, possible afterwards, many times over, and after
# and beside C zsmalloc.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs beside C zsmalloc"
rounds=$(pick 40 10)
pages=$(pick 6000 1500)
find_hog
disk=$(swap_disk)

# pressure: swap through zswap as it is set, with contents checked.
pressure() {
	local group
	swap_on "$disk"
	group=$(memcg hog $((pages * 2 / 3)))
	(in_memcg "$group" "$HOG" --pages "$pages" --touches $((pages / 4))) ||
		fail "pages came back wrong, or the hog failed"
	expect_no_oom_kill "$group"
	[ "$(value "$group/memory.stat" zswpout)" -ge $((pages / 4)) ] || fail "nothing was swapped out"
	swapoff "$disk"
	rmdir "$group"
}

# Refused while a zpool lives.
load_ours
zswap_on zsmalloc_rs
must_fail "unloading zsmalloc_rs while zswap uses it" rmmod zsmalloc_rs
grep -q "in use" "$WORK/refusal" || fail "the refusal says: $(cat "$WORK/refusal")"
pressure
must_fail "unloading zsmalloc_rs while zswap uses it" rmmod zsmalloc_rs
zswap_off
unload zsmalloc_rs
note "unloading is refused while zswap has a pool, and works afterwards"

# Refused while somebody has a file of the module's in debugfs open.
load_ours
exec 5<"$DEBUGFS/zsmalloc_rs/stats"
must_fail "unloading zsmalloc_rs while its statistics are read" rmmod zsmalloc_rs
exec 5<&-
unload zsmalloc_rs
note "unloading is refused while a file in debugfs is open, and works afterwards"

# Refused while zram is there, at each level.
load_zram 1
echo 8M >/sys/block/zram0/disksize
must_fail "unloading the shim under zram" rmmod zsmalloc
must_fail "unloading zsmalloc_rs under the shim" rmmod zsmalloc_rs
head -c 4M "$HOG" >/dev/zram0
must_fail "unloading zsmalloc_rs under the shim" rmmod zsmalloc_rs
unload_zram
unload zsmalloc_rs
note "unloading is refused while zram has a pool, and works afterwards"

# Beside C zsmalloc: both types are usable, in either order of loading.
for order in "ours c" "c ours"; do
	for which in $order; do
		"load_$which"
	done
	zswap_on zsmalloc
	pressure
	zswap_on zsmalloc_rs
	pressure
	zswap_off
	unload zsmalloc
	zswap_on zsmalloc_rs
	zswap_off
	unload zsmalloc_rs
done
note "works beside C zsmalloc, and after it"

# The two providers of zs_* exclude each other, with an error and no harm.
load_c
load_ours
must_fail "the shim beside C zsmalloc" insmod "$SHIM"
unload zsmalloc
insmod "$SHIM"
must_fail "C zsmalloc beside the shim" load_c
is_loaded zsmalloc || fail "the refused module took the shim away"
unload zsmalloc
unload zsmalloc_rs
must_fail "the shim without zsmalloc_rs" insmod "$SHIM"
note "the shim and C zsmalloc exclude each other"

# Over and over: every tenth time with a pool in use, the rest bare.
swap_on "$disk"
for ((i = 0; i < rounds; i++)); do
	load_ours
	if ((i % 10 == 0)); then
		zswap_on zsmalloc_rs
		"$HOG" --pages 1000 --touches 1000 --pageout >/dev/null ||
			fail "round $i: pages came back wrong, or the hog failed"
		zswap_off
	fi
	if ((i % 10 == 5)); then
		insmod "$SHIM"
		rmmod zsmalloc
	fi
	unload zsmalloc_rs
done
swapoff "$disk"
note "loaded and unloaded $rounds times"

# And the other one still works.
load_c
zswap_on zsmalloc
pressure
zswap_off
finish
