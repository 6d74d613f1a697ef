#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal timeout=900 memory=512M cpus=2
#
# C zsmalloc and ours, in turns on the same real data in zram, in memory that is
# in pieces: how many pages move, how much free memory comes
# together, and what compaction returns after half of 40,000 objects were freed.
# Ours must be as good in each, and refuse to move no page. (The kernel's count of
# pages that did not move has others in it as well: those of files, for example.)
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/moving_lib.sh
. "$(dirname "$0")/moving_lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "it tests both providers anyway"
! c_is_builtin || skip "zram of this kernel is bound to the built-in zsmalloc"
data=$ROOT/out/vm-tests/real-data
[ -r "$data" ] || fail "$data is missing: tests/vm/prepare makes it"
find_blocks
objects=40000
declare -A figure

# large_blocks: free memory in pieces of 2 MB and more, in pages of 2 MB.
large_blocks() {
	awk '{ for (order = 9; order + 5 <= NF; order++) sum += $(order + 5) * 2 ^ (order - 9) }
		END { print sum + 0 }' /proc/buddyinfo
}

# settle: nothing in the way that is not the pool's.
settle() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	compact_memory
}

# compact_fully: until no large block comes together any more. One pass ends
# where its two scanners meet, which is a matter of chance.
compact_fully() {
	local last=-1 now pass
	for pass in 1 2 3 4 5 6 7 8; do
		compact_memory
		now=$(large_blocks)
		if [ "$now" -le "$last" ] && [ "$pass" -gt 2 ]; then
			return
		fi
		last=$now
	done
}

# zram_stat COLUMN: of mm_stat.
zram_stat() {
	awk -v column="$1" '{ print $column }' /sys/block/zram0/mm_stat
}

# note_figures SIDE NAME NUMBER...: adds to what is known from other turns.
note_figures() {
	local side=$1
	shift
	while [ $# -gt 0 ]; do
		figure[$side.$1]=$((${figure[$side.$1]:-0} + $2))
		shift 2
	done
}

# measure SIDE: ours or c.
measure() {
	local side=$1 before full refused=0
	ZSRS_PROVIDER=$side
	settle
	load_zram 1
	zram_size zram0 $((objects * 4 / 1024 + 1))
	"$BLOCKS" fill /dev/zram0 --blocks $objects --data "$data" --ballast
	echo 3 >/proc/sys/vm/drop_caches
	before=$(large_blocks)
	vm_events
	compact_fully
	full=$(($(zram_stat 3) / 4096))
	note_figures "$side" pool_pages "$full" \
		moved "$(vm_event pgmigrate_success)" failed "$(vm_event pgmigrate_fail)" \
		large_before "$before" large_after "$(large_blocks)"

	"$BLOCKS" punch /dev/zram0 --blocks $objects
	# Ours compacts by itself too; that counts as well.
	compact_pool zram0
	vm_events
	compact_fully
	note_figures "$side" returned $((full - $(zram_stat 3) / 4096)) half_moved "$(vm_event pgmigrate_success)" \
		half_failed "$(vm_event pgmigrate_fail)" half_large "$(large_blocks)"
	[ "$side" = c ] || refused=$(pool zram0 migrations_refused)
	note_figures "$side" refused "$refused"
	"$BLOCKS" check /dev/zram0 --blocks $objects --data "$data" --punched ||
		fail "objects came back wrong ($side)"
	echo 1 >/sys/block/zram0/reset
	unload_zram
	if is_loaded zsmalloc_rs; then unload zsmalloc_rs; fi
	if is_loaded zsmalloc; then unload zsmalloc; fi
	note "$side is measured"
}

row() {
	printf '%-52s %10s %10s\n' "$1" "$2" "$3"
}

# better KEY WHAT: ours is at least C's, but for what equal runs differ by: a tenth
# up or down was seen on each side.
better() {
	local ours=${figure[ours.$1]} theirs=${figure[c.$1]}
	[ $((ours * 5)) -ge $((theirs * 4)) ] || failures+=("$2: $ours is below C's $theirs")
}

# none KEY WHAT
none() {
	[ "${figure[ours.$1]}" = 0 ] || failures+=("$2: ${figure[ours.$1]} and not 0")
}

# Whose turn it is matters: memory is more in pieces the longer the machine runs.
for side in c ours ours c; do
	measure "$side"
done
ZSRS_PROVIDER=ours

row "$objects objects of real data in zram, two turns" C ours
for line in "pool_pages:pages of the pool" "moved:pages moved by compact_memory" \
	"failed:pages that it could not move" "large_before:free 2 MB blocks before" \
	"large_after:free 2 MB blocks after" "returned:pages returned, half of the objects freed at random" \
	"half_moved:pages moved by compact_memory after that" "half_failed:pages that it could not move" \
	"half_large:free 2 MB blocks after that" "refused:pages that the provider refused to move"; do
	row "${line#*:}" "${figure[c.${line%%:*}]}" "${figure[ours.${line%%:*}]}"
done

failures=()
better moved "pages moved"
better large_after "free 2 MB blocks"
[ "${figure[ours.returned]}" -ge "${figure[c.returned]}" ] ||
	failures+=("pages returned: ${figure[ours.returned]} is below C's ${figure[c.returned]}")
better half_large "free 2 MB blocks after compaction"
none refused "pages that ours refused to move"
for failure in "${failures[@]}"; do
	note "$failure"
done
[ ${#failures[@]} = 0 ] || fail "${#failures[@]} figures are worse than C's"
finish
