# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What must be as it was when all pools are gone, for tests in a guest. Whoever sources this has a
# function fail that ends it with a message.

# nr_zspages: the kernel's count of zspage pages, exact: the CPUs' parts folded in.
nr_zspages() {
	# Where there is one CPU there are no parts.
	[ ! -e /proc/sys/vm/stat_refresh ] || echo 1 >/proc/sys/vm/stat_refresh
	awk '$1 == "nr_zspages" { print $2 }' /proc/vmstat
}

# expect_nr_zspages COUNT: what it was when the test began.
expect_nr_zspages() {
	local is
	is=$(nr_zspages)
	[ "$is" = "$1" ] || fail "NR_ZSPAGES is $is and was $1 at the start: pages leaked or miscounted"
}

# expect_no_leak: kmemleak, where the kernel has it, finds nothing. Two scans: it reports no object
# younger than 5 s, nor one that has just changed.
expect_no_leak() {
	local kmemleak=/sys/kernel/debug/kmemleak leaks
	[ -e "$kmemleak" ] || return 0
	! grep -qw kmemleak=off /proc/cmdline || return 0
	echo "kmemleak scans twice"
	sleep 6
	echo scan >"$kmemleak"
	echo scan >"$kmemleak"
	leaks=$(cat "$kmemleak")
	[ -z "$leaks" ] || {
		head -n 60 <<<"$leaks" >&2
		fail "kmemleak reports $(grep -c '^unreferenced' <<<"$leaks") unreferenced objects"
	}
}
