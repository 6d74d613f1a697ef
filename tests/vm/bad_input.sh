#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=240 memory=1G cpus=2 disk=256M
#
# Wrong input from user space, as far as it reaches the module through its
# parameters, zswap and zram (bug 26 of the list in Documentation/testing.rst):
# an error, and all works as before.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "made for zsmalloc_rs"
find_hog
find_blocks
blocks=$(pick 8000 2000)
disk=$(swap_disk)

# expect_message TEXT: the kernel or the refused command has said it, as Documentation/usage.rst
# tells users who look for it.
expect_message() {
	local said
	said=$(dmesg && cat "$WORK/refusal")
	[[ $said = *"$1"* ]] || fail "no message says '$1'; the refused command said: $(cat "$WORK/refusal")"
}

# Parameters that cannot be: refused at loading.
for chain in 0 3 17 -1 x 4294967304; do
	must_fail "chain=$chain" insmod "$OURS" "chain=$chain"
	! is_loaded zsmalloc_rs || fail "the module is loaded although chain=$chain was refused"
done
expect_message "chain=17 is out of range: give 4 to 16 pages"
# The limits are accepted, and objects are whole in zspages of that many pages.
for chain in 4 16; do
	insmod "$OURS" "chain=$chain"
	load_zram 1
	zram_size zram0 $((blocks * 4 / 1024 + 1))
	"$BLOCKS" fill /dev/zram0 --blocks "$blocks"
	longest=$(awk '$NF ~ /^[0-9]+$/ && $1 ~ /^[0-9]+$/ && $(NF - 1) > most { most = $(NF - 1) } END { print most }' \
		"$DEBUGFS/zsmalloc_rs/zram0/classes")
	[ "$longest" = "$chain" ] || fail "with chain=$chain the longest zspages have $longest pages"
	"$BLOCKS" punch /dev/zram0 --blocks "$blocks"
	echo 1 >/sys/block/zram0/compact
	"$BLOCKS" check /dev/zram0 --blocks "$blocks" --punched || fail "with chain=$chain blocks came back wrong"
	unload_zram
	rmmod zsmalloc_rs
done
note "chain: wrong values are refused, the limits accepted"

# Modules that do not fit together.
must_fail "the shim alone" insmod "$SHIM"
expect_message "zsmalloc: Unknown symbol zsrs_"
echo Y >"$ZSWAP/enabled"
must_fail "a zpool that is not loaded" write_to "$ZSWAP/zpool" zsmalloc_rs
expect_message "zpool zsmalloc_rs not available"
load_ours
must_fail "loading the module twice" insmod "$OURS"
load_c
must_fail "the shim beside C zsmalloc" insmod "$SHIM"
expect_message "File exists"
unload zsmalloc
insmod "$SHIM"
must_fail "unloading the module under the shim" rmmod zsmalloc_rs
expect_message "Module zsmalloc_rs is in use"
unload zsmalloc
zswap_on zsmalloc_rs
swap_on "$disk"

# Pool types and compressors that do not exist: the old pool stays in use.
for type in zsmalloc_r zsmalloc_rs2 "" "zsmalloc_rs zbud" "../zsmalloc_rs"; do
	must_fail "the zpool \"$type\"" write_to "$ZSWAP/zpool" "$type"
	is=$(cat "$ZSWAP/zpool")
	[ "$is" = zsmalloc_rs ] || fail "after a refused zpool, zswap uses $is"
done
must_fail "an unknown compressor" write_to "$ZSWAP/compressor" nosuch

# The same type again, and a trailing newline less, are no change.
echo zsmalloc_rs >"$ZSWAP/zpool"
printf zsmalloc_rs >"$ZSWAP/zpool"
"$HOG" --pages 1000 --touches 1000 --pageout || fail "pages came back wrong, or the hog failed"

# A pool per compressor; only the last one stays.
for compressor in lz4 zstd lzo; do
	write_to "$ZSWAP/compressor" $compressor
	"$HOG" --pages 500 --touches 500 --pageout >/dev/null || fail "pages came back wrong with $compressor"
done
swapoff "$disk"
wait_until 30 "zswap's old pools live on: $(ours pools)" ours_has_pools 1

# debugfs files are for reading.
files=0
while read -r file; do
	cat "$file" >/dev/null || fail "$file cannot be read"
	must_fail "writing to $file" write_to "$file" 1
	files=$((files + 1))
done < <(find "$DEBUGFS/zsmalloc_rs" -type f)
note "debugfs: $files files can be read, and not be written"
[ "$files" -ge 3 ] || fail "there are only $files files, not the module's and a pool's two"
zswap_off
finish
