#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal soak=debug timeout=900 memory=1G cpus=2 disk=512M
#
# The allocator's own writeback, with a client that uses it for real:
# samples/zsrs_store.c keeps compressed pages in a pool with a limit and evicts
# them to a disk. Real files, compressed ten times what the pool may have, are
# written from two processes, overwritten, dropped and read back while a third
# reclaims and pages migrate. Every byte is compared, also those on the disk.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/writeback_lib.sh
. "$(dirname "$0")/writeback_lib.sh"

pages=$(pick 8000 2400)
limit=$((pages / 32))
ops=$(pick 8000 800)
# Both writers, and the pages of a zspage that each may add to a full pool.
slack=$((2 * 8))
disk=$(swap_disk)

show_counters() {
	note "$1: $(awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }' "$stats")"
}

expect_within_limit() {
	local peak
	peak=$(counter pool_pages_peak)
	[ "$peak" -le $((limit + slack)) ] ||
		fail "the pool had $peak pages; its limit is $limit, and $slack more for two writers"
	[ "$peak" -ge $((limit / 2)) ] || fail "the pool had $peak pages at most: the limit of $limit was not tested"
}

# disturb PAUSE: a third task, which reclaims and has the kernel move pages until
# stopped; PAUSE seconds in between.
disturb() {
	local round=0 often=4
	[ "$1" != 0 ] || often=1
	while [ ! -e "$WORK/stop" ]; do
		round=$((round + 1))
		# Now and then, without a pause always, all there is: even the newest.
		write_to "$DEBUGFS/zsrs_store/shrink" $((round % often ? 8 : limit)) 2>/dev/null || true
		[ "$1" != 0 ] || continue
		[ $((round % 8)) != 0 ] || echo 1 >/proc/sys/vm/compact_memory
		sleep "$1"
	done
	echo "$round" >"$WORK/rounds"
}

# start_disturbing PAUSE...: as many tasks.
start_disturbing() {
	local pause
	rm -f "$WORK/stop"
	disturbers=()
	for pause; do
		disturb "$pause" &
		disturbers+=($!)
	done
}

stop_disturbing() {
	local disturber
	touch "$WORK/stop"
	for disturber in "${disturbers[@]}"; do
		expect_success "$disturber" "the task that reclaims failed"
	done
	note "$(cat "$WORK/rounds") rounds of reclaim from another task"
}

# Real files of all kinds: our objects and sources, programs, libraries.
bytes=$((pages * 4096))
{ cat "$ZSRS_BUILD"/*.ko "$ROOT"/rust/*/*.rs /usr/bin/[ace]* /usr/lib/*-linux-gnu/*.so.[0-9]* 2>/dev/null || true; } |
	head -c "$bytes" >"$WORK/data"
[ "$(stat -c %s "$WORK/data")" = "$bytes" ] || fail "this machine has too few files for $pages pages"
note "$pages pages of files, a pool of $limit pages"

load_ours
insmod "$store" device="$disk" limit="$limit"
must_fail "another use of the disk while pages go to it" mkswap "$disk"

# half NUMBER: in and out, by two processes at once.
half=$((pages / 2))
write_half() {
	dd if="$WORK/data" of=/dev/zsrs_store bs=64k iflag=skip_bytes,count_bytes oflag=seek_bytes \
		skip=$(($1 * half * 4096)) seek=$(($1 * half * 4096)) count=$((half * 4096)) status=none conv=notrunc
}
read_half() {
	dd if=/dev/zsrs_store bs=64k iflag=skip_bytes,count_bytes skip=$(($1 * half * 4096)) \
		count=$((half * 4096)) status=none |
		cmp - <(tail -c +$(($1 * half * 4096 + 1)) "$WORK/data" | head -c $((half * 4096)))
}

start_disturbing 0.05
write_half 0 &
one=$!
write_half 1
expect_success $one "writing failed"
held=$(($(counter stored_bytes) + $(counter evicted_bytes)))
show_counters "written"
read_half 0 &
one=$!
read_half 1 || fail "what was read is not what was written"
expect_success $one "what was read is not what was written"
stop_disturbing
expect_within_limit
[ "$held" -ge $((10 * limit * 4096)) ] ||
	fail "the data had $held bytes when compressed, less than ten times the pool's limit"

# Everything out: then the disk itself has the files, page by page.
must_fail "reclaiming more than there is" write_to "$DEBUGFS/zsrs_store/shrink" $((pages * 2))
[ "$(counter stored):$(counter stored_bytes):$(counter pool_pages)" = 0:0:0 ] ||
	fail "after all was reclaimed: $(counter stored) pages stored, $(counter pool_pages) in the pool"
dd if="$disk" iflag=direct bs=64k count="${bytes}B" status=none | cmp - "$WORK/data" ||
	fail "the disk does not have the pages that were evicted to it"
note "the disk has all of them, the pool is empty"

# hammer OPS OPTION...: two workers.
hammer() {
	local ops=$1 one
	shift
	/usr/bin/python3 -B "$TESTS/writeback_client.py" --data "$WORK/data" --workers 2 --worker 0 --ops "$ops" "$@" &
	one=$!
	/usr/bin/python3 -B "$TESTS/writeback_client.py" --data "$WORK/data" --workers 2 --worker 1 --ops "$ops" "$@" ||
		fail "worker 1: pages were wrong, or the device failed"
	expect_success $one "worker 0: pages were wrong, or the device failed"
}

# A comparison that cannot fail proves nothing: a wrong page must be seen.
seen=0
/usr/bin/python3 -B "$TESTS/writeback_client.py" --data "$WORK/data" --window 64 --ops 0 --plant >/dev/null 2>&1 || seen=$?
[ "$seen" = 1 ] || fail "writeback_client.py does not notice a wrong page (exit status $seen)"

read_before=$(counter read_from_disk)
start_disturbing 0.05
hammer "$ops"
stop_disturbing
show_counters "hammered"
expect_within_limit
[ $(($(counter read_from_disk) - read_before)) -ge $((pages / 2)) ] ||
	fail "only $(($(counter read_from_disk) - read_before)) pages were read from the disk"

# The same few pages, written again while they are evicted: by two tasks, so that
# the new content may be evicted before the old one has reached the disk.
start_disturbing 0 0
hammer "$ops" --window 4 --fill
stop_disturbing
show_counters "hammered on a few pages"
for key in evicted overtaken read_from_pool; do
	[ "$(counter $key)" -gt 0 ] || fail "the counter $key is 0: that was not tested"
done
for key in rejected io_errors corrupt; do
	[ "$(counter $key)" = 0 ] || fail "the counter $key is $(counter $key) and should be 0"
done

# Unloaded with pages in the pool.
dd if="$WORK/data" of=/dev/zsrs_store bs=4k count=300 status=none conv=notrunc
[ "$(counter stored)" -gt 0 ] || fail "nothing is in the pool after 300 pages were written"
[ "$(counter stored)" = "$(ours words_live)" ] ||
	fail "$(counter stored) pages are stored, but there are $(ours words_live) objects"
must_fail "unloading the allocator under its client" rmmod zsmalloc_rs
rmmod zsrs_store
finish
