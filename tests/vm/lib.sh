# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the VM tests share. A test is a script tests/vm/NAME.sh that runs as
# root inside a virtual machine, with a header such as
#
#     # vm: flavours=normal soak=debug timeout=120 memory=1G disk=512M
#
# (soak: in make soak also on these kernels) and ends with 0 (passed), 77
# (skipped, the last line says why) or anything else (failed). It sources this
# file first:
#
#     . "$(dirname "$0")/lib.sh"
#
# The modules under test are in $ZSRS_BUILD; the kernel's own are found with
# modprobe. ZSRS_PROVIDER=c runs a test that allows it on C zsmalloc instead of on
# ours, to tell a fault of the test from one of the allocator.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
TESTS=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
ROOT=$(cd -- "$TESTS/../.." && pwd -P)
: "${ZSRS_BUILD:?is not set: run VM tests through scripts/test or scripts/vm}"
case $ZSRS_BUILD in
/*) ;;
*) ZSRS_BUILD=$ROOT/$ZSRS_BUILD ;;
esac
FLAVOUR=${ZSRS_BUILD##*/}
# use_provider NAME: ours or c is the provider under test from now on.
use_provider() {
	ZSRS_PROVIDER=$1
	ZPOOL=zsmalloc_rs
	[ "$1" = ours ] || ZPOOL=zsmalloc
}
use_provider "${ZSRS_PROVIDER:-ours}"
export ZPOOL

OURS=$ZSRS_BUILD/zsmalloc-rs.ko
SHIM=$ZSRS_BUILD/zsmalloc.ko
ZSWAP=/sys/module/zswap/parameters
DEBUGFS=/sys/kernel/debug

# Everything a test writes is in here: the guest's own memory.
WORK=$(mktemp -d /tmp/zsrs.XXXXXX)

# shellcheck source=scripts/lib/guest_checks.sh
. "$ROOT/scripts/lib/guest_checks.sh"

# ---- telling ----

STARTED=$SECONDS

note() {
	printf '  %3ds %s\n' "$((SECONDS - STARTED))" "$*"
}

fail() {
	printf 'FAILED: %s\n' "$*" >&2
	exit 1
}

skip() {
	printf 'skipped: %s\n' "$*"
	exit 77
}

# on_debug: true in a kernel with lockdep, and KASAN mostly, where all is far
# slower.
on_debug() {
	[ -e /proc/lockdep ]
}

# pick NORMAL DEBUG: the amount of work that fits this kernel.
pick() {
	if on_debug; then echo "$2"; else echo "$1"; fi
}

# wait_until SECONDS WHAT COMMAND...: polls COMMAND until it succeeds.
wait_until() {
	local limit=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		[ "$SECONDS" -lt "$limit" ] || fail "$what, even after waiting"
		sleep 0.1
	done
}

# must_fail WHAT COMMAND...: COMMAND must be refused; its message is kept in
# $WORK/refusal for the caller to look at.
must_fail() {
	local what=$1
	shift
	if "$@" >"$WORK/refusal" 2>&1; then
		fail "$what was accepted and must be refused"
	fi
}

# write_to FILE TEXT: as a command, for must_fail and wait_until.
write_to() {
	echo "$2" >"$1"
}

# ---- modules ----

is_loaded() {
	[ -d "/sys/module/$1" ] && [ -e "/sys/module/$1/refcnt" ]
}

c_is_builtin() {
	! modprobe --show-depends zsmalloc 2>/dev/null | grep -q '^insmod '
}

# kernel_module NAME: the file of a module of the kernel under test.
kernel_module() {
	local path
	path=$(modprobe --show-depends "$1" | sed -n "s/^insmod \([^ ]*\/$1\.ko[^ ]*\).*/\1/p")
	[ -n "$path" ] || fail "this kernel has no module $1"
	echo "$path"
}

load_ours() {
	[ -e "$OURS" ] || fail "$OURS is missing: build it with 'scripts/modules $FLAVOUR'"
	insmod "$OURS"
}

load_c() {
	insmod "$(kernel_module zsmalloc)"
}

# load_core: the provider under test, whose zpool type is $ZPOOL.
load_core() {
	if [ "$ZSRS_PROVIDER" = c ]; then
		load_c
	else
		load_ours
	fi
}

# unload_core: the provider under test, which has no pools any more.
unload_core() {
	if [ "$ZSRS_PROVIDER" = ours ]; then
		expect_ours_zero
		unload zsmalloc_rs
	else
		unload zsmalloc
	fi
}

# load_zram: zram.ko, unmodified, on the provider under test.
load_zram() {
	if [ "$ZSRS_PROVIDER" = c ]; then
		is_loaded zsmalloc || load_c
	else
		is_loaded zsmalloc_rs || load_ours
		insmod "$SHIM"
	fi
	insmod "$(kernel_module zram)" num_devices="${1:-1}"
}

unload_zram() {
	rmmod zram
	if [ "$ZSRS_PROVIDER" = ours ]; then
		rmmod zsmalloc
	fi
}

# unload MODULE: once its last user is gone; users leave asynchronously when
# zswap gives up a pool.
unload() {
	wait_until 30 "module $1 cannot be unloaded ($(cat "/sys/module/$1/refcnt" 2>/dev/null) users)" \
		rmmod_quietly "$1"
}

rmmod_quietly() {
	rmmod "$1" 2>"$WORK/rmmod"
}

# ---- what the allocator counts ----

# value FILE KEY: the number beside KEY in a "key value" file.
value() {
	awk -v key="$2" '$1 == key || $1 == key ":" { print $2; found = 1; exit }
		END { exit !found }' "$1" ||
		fail "$1 has no line \"$2\""
}

# ours KEY: an exact counter of our module (words_live, zspages_live,
# pages_live, pools).
ours() {
	value "$DEBUGFS/zsmalloc_rs/stats" "$1"
}

ours_has_pools() {
	[ "$(ours pools)" = "$1" ]
}

# expect_ours_zero: no pool is left, and nothing that belonged to one.
expect_ours_zero() {
	local key count
	[ "$ZSRS_PROVIDER" = ours ] || return 0
	wait_until 30 "zsmalloc_rs still has $(ours pools) pools" ours_has_pools 0
	for key in words_live zspages_live pages_live; do
		count=$(ours "$key")
		[ "$count" = 0 ] || fail "$key is $count with no pool left: that much was leaked"
	done
}

# run_tests NAME...: runs other tests in this boot, on the debug kernel. kmemleak
# scans once, after the last one. None of them may skip there.
run_tests() {
	local test status
	[ -e "$DEBUGFS/kmemleak" ] || fail "this kernel has no kmemleak: run this test with flavour debug"
	for test in "$@"; do
		note "$test"
		status=0
		ZSRS_LEAKS=later bash "$TESTS/$test.sh" || status=$?
		case $status in
		0) ;;
		77) fail "$test was skipped" ;;
		*) fail "$test" ;;
		esac
	done
}

# finish: the closing checks that all tests share: our module goes, and leaves
# nothing behind. ZSPAGES_AT_START is set when this file is sourced. Leaks are left to
# the caller if ZSRS_LEAKS=later.
finish() {
	if is_loaded zsmalloc_rs; then
		expect_ours_zero
		unload zsmalloc_rs
	fi
	if is_loaded zsmalloc; then
		unload zsmalloc
	fi
	expect_nr_zspages "$ZSPAGES_AT_START"
	[ "${ZSRS_LEAKS:-now}" = later ] || expect_no_leak
	note "passed"
}

# ---- zswap, swap devices ----

# zswap_on ZPOOL [COMPRESSOR]: all later stores go to a pool of this type.
# Enabled first: until then zswap takes any name and looks at it later.
zswap_on() {
	echo Y >"$ZSWAP/enabled"
	echo "${2:-lzo}" >"$ZSWAP/compressor"
	echo "$1" >"$ZSWAP/zpool" || fail "zswap refuses the zpool $1"
	[ "$(cat "$ZSWAP/zpool")" = "$1" ] || fail "zswap does not take the zpool $1: $(cat "$ZSWAP/zpool") is in use"
}

# zswap_off: no stores any more, and the pool type that needs no module.
zswap_off() {
	echo N >"$ZSWAP/enabled"
	echo zbud >"$ZSWAP/zpool"
}

zswap_counter() {
	cat "$DEBUGFS/zswap/$1"
}

zswap_is_empty() {
	[ "$(zswap_counter stored_pages)" = 0 ]
}

zswap_holds() {
	[ "$(zswap_counter stored_pages)" -ge "$1" ]
}

# swap_disk: the disk that the header's "disk=" gave this machine.
swap_disk() {
	local disk
	for disk in /dev/vda /dev/vdb /dev/sda; do
		if [ -b "$disk" ]; then
			echo "$disk"
			return
		fi
	done
	fail "this machine has no disk to swap to: give it one with scripts/vm --disk FILE"
}

swap_on() {
	mkswap "$1" >"$WORK/mkswap" 2>&1 || fail "mkswap $1: $(cat "$WORK/mkswap")"
	swapon "$1"
	echo 0 >/proc/sys/vm/page-cluster
}

# ---- pressure ----

# memcg NAME PAGES: makes a new memory cgroup of this size, prints its folder.
memcg() {
	local group=$CGROUP/$1
	[ ! -d "$group" ] || rmdir "$group"
	mkdir "$group"
	echo "$(($2 * 4096))" >"$group/memory.max"
	fold_statistics "$group" >/dev/null 2>&1 &
	echo "$group"
}

# fold_statistics GROUP: reads its memory.stat, which folds the per-CPU parts of
# the figures, until the group is gone. Left to itself the kernel does so every
# 2 s, decides in between by old figures that the inactive list is long enough,
# leaves the active one alone, and kills programs while swap is free.
fold_statistics() {
	while mapfile -t _ <"$1/memory.stat"; do
		sleep 0.1
	done
}

# in_memcg GROUP COMMAND...: becomes COMMAND inside the group; to be used with
# "&" or in parentheses.
in_memcg() {
	local group=$1
	shift
	echo "$BASHPID" >"$group/cgroup.procs"
	exec "$@"
}

# expect_no_oom_kill GROUP
expect_no_oom_kill() {
	[ "$(value "$1/memory.events" oom_kill)" = 0 ] ||
		fail "the test's program was killed for want of memory: give its group more"
}

# program NAME: prints where the program of NAME.c is. Built on the host by
# tests/vm/prepare; compiled here, which takes some seconds under emulation, if
# that was not done.
program() {
	local built=$ROOT/out/vm-tests/$1
	[[ $FLAVOUR != arm64* ]] || built=$ROOT/out/vm-tests/arm64/$1
	if [ ! -x "$built" ] || [ "$TESTS/$1.c" -nt "$built" ] || [ "$TESTS/contents.h" -nt "$built" ]; then
		built=$WORK/$1
		gcc -O2 -static -pthread -o "$built" "$TESTS/$1.c"
	fi
	echo "$built"
}

# HOG: the program of hog.c.
find_hog() {
	local seen=0
	HOG=$(program hog)
	# A comparison that cannot fail proves nothing: a damaged byte must be seen.
	"$HOG" --pages 16 --plant >/dev/null 2>&1 || seen=$?
	[ "$seen" = 1 ] || fail "hog does not notice a damaged page (exit status $seen)"
}

# start_two_hogs PAGES: they work on as many pages in all until they are stopped, two thirds of which
# fit in their GROUP, and some are in zswap already.
start_two_hogs() {
	GROUP=$(memcg hog $(($1 * 2 / 3)))
	in_memcg "$GROUP" "$HOG" --pages $(($1 / 2)) --seed 1 --seconds 3600 &
	HOGS=($!)
	in_memcg "$GROUP" "$HOG" --pages $(($1 / 2)) --seed 2 --seconds 3600 &
	HOGS+=($!)
	wait_until 200 "nothing was swapped out" zswap_holds $(($1 / 8))
	STORED_BEFORE=$(value "$GROUP/memory.stat" zswpout)
}

# expect_two_hogs WHEN: both are at work.
expect_two_hogs() {
	kill -0 "${HOGS[0]}" || fail "the first hog ended early, $1"
	kill -0 "${HOGS[1]}" || fail "the second hog ended early, $1"
}

# stop_two_hogs: all their pages were right. STORED is how many were stored since they were started.
stop_two_hogs() {
	export STORED=$(($(value "$GROUP/memory.stat" zswpout) - STORED_BEFORE))
	kill -TERM "${HOGS[@]}"
	expect_success "${HOGS[0]}" "pages came back wrong, or the first hog failed"
	expect_success "${HOGS[1]}" "pages came back wrong, or the second hog failed"
	expect_no_oom_kill "$GROUP"
}

# peak_while PID COMMAND...: sets PEAK to the highest number that COMMAND
# printed while PID, a child of this shell, was alive.
peak_while() {
	local pid=$1 now
	shift
	PEAK=0
	while kill -0 "$pid" 2>/dev/null; do
		now=$("$@")
		[ "$now" -le "$PEAK" ] || PEAK=$now
		sleep 0.1
	done
}

# expect_success PID WHAT: the child PID ended with 0.
expect_success() {
	local status=0
	wait "$1" || status=$?
	[ "$status" = 0 ] || fail "$2 (exit status $status)"
}

# ---- set-up, at the time of sourcing ----

if ! mountpoint -q "$DEBUGFS"; then
	mount -t debugfs none "$DEBUGFS"
fi

# The version 2 hierarchy, with the memory controller handed down; none if the
# kernel was started with cgroup_disable=memory.
CGROUP=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
if [ -z "$CGROUP" ]; then
	CGROUP=$WORK/cgroup
	mkdir "$CGROUP"
	mount -t cgroup2 none "$CGROUP"
fi
if grep -qw memory "$CGROUP/cgroup.controllers"; then
	echo +memory >"$CGROUP/cgroup.subtree_control"
fi

ZSPAGES_AT_START=$(nr_zspages)
