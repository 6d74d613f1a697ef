# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of moving objects (tests/vm/moving_*.sh) share; to be sourced
# after lib.sh.

# find_blocks: BLOCKS, the program of blocks.c.
find_blocks() {
	BLOCKS=$(program blocks)
}

# expect_blocks_notices DEVICE: a comparison that cannot fail proves nothing: a
# damaged block must be seen. Writes to the device.
expect_blocks_notices() {
	local seen=0
	"$BLOCKS" fill "$1" --blocks 64 >/dev/null
	"$BLOCKS" check "$1" --blocks 64 --plant >/dev/null 2>&1 || seen=$?
	[ "$seen" = 1 ] || fail "blocks does not notice a damaged block (exit status $seen)"
}

# zram_size DEVICE MEGABYTES: sets up /dev/DEVICE.
zram_size() {
	echo lzo-rle >"/sys/block/$1/comp_algorithm"
	echo "$2M" >"/sys/block/$1/disksize"
}

# ---- what moved ----

# pool POOL KEY: a figure of one of our pools (pages_migrated,
# migrations_refused, pages_compacted ...).
pool() {
	value "$DEBUGFS/zsmalloc_rs/$1/stats" "$2"
}

# zspages_on NODE: pages of zspages there.
zspages_on() {
	echo 1 >/proc/sys/vm/stat_refresh
	value "/sys/devices/system/node/node$1/vmstat" nr_zspages
}

# vm_events: remembers the kernel's counters of moved pages; vm_event KEY prints
# how much one grew since.
vm_events() {
	cp /proc/vmstat "$WORK/vmstat"
}

vm_event() {
	echo $(($(value /proc/vmstat "$1") - $(value "$WORK/vmstat" "$1")))
}

# ---- movers ----

MOVERS=()

# Nobody writes to it.
mkfifo "$WORK/nap"
exec {NAP}<>"$WORK/nap"

# nap SECONDS: sleeps without a program, which might have to be read again from
# the host after each shrink.
nap() {
	read -r -t "$1" -u "$NAP" _ || true
}

# mover PAUSE COMMAND...: runs COMMAND over and over in the background, with
# pauses of so many seconds, until stop_movers. No signal ends it: bash may run a
# trap while it reads a substitution, and then takes this for a syntax error.
mover() {
	local pause=$1
	shift
	(
		while ! [ -e "$WORK/stop" ]; do
			"$@" 2>>"$WORK/movers" || fail "$*" 2>>"$WORK/movers"
			nap "$pause"
		done
	) &
	MOVERS+=($!)
}

# stop_movers: ends them; fails if one of them ended before.
stop_movers() {
	local pid status
	touch "$WORK/stop"
	for pid in "${MOVERS[@]}"; do
		status=0
		wait "$pid" || status=$?
		[ "$status" = 0 ] || fail "a mover gave up (exit status $status): $(tail -n 2 "$WORK/movers")"
	done
	rm "$WORK/stop"
	MOVERS=()
}

# watch_pool POOL: what compaction could win is never more than a pool can have,
# whatever goes on at the same time: a count that underflows is near 2^64.
watch_pool() {
	local pages
	pages=$(pool "$1" compactable_pages) || exit 1
	[[ $pages =~ ^[0-9]{1,8}$ ]] || fail "$1 claims that compaction could win '$pages' pages"
}

# compact_memory: the kernel moves all movable pages together.
compact_memory() {
	echo 1 >/proc/sys/vm/compact_memory
}

# compact_pool DEVICE: zs_compact(), by zram's attribute.
compact_pool() {
	echo 1 >"/sys/block/$1/compact"
}

# shrink: asks every shrinker, ours too.
shrink() {
	echo 2 >/proc/sys/vm/drop_caches
}
