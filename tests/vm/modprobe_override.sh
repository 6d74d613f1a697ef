#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal timeout=120 memory=1G cpus=2
#
# Installed as 'make modules_install' does it, in updates/, our zsmalloc.ko is
# the one that "modprobe zram" loads, with zsmalloc_rs below it; removed again,
# C zsmalloc is back. The kernel's own files are not touched.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "made for the shim"
! c_is_builtin || skip "no shim where CONFIG_ZSMALLOC=y"

# A module tree of our own: links to the kernel's files, and the updates.
release=$(uname -r)
base=$WORK/root
tree=$base/lib/modules/$release
kernel=$(readlink -f "/lib/modules/$release")
mkdir -p "$tree"
for module in zram zsmalloc; do
	file=$(kernel_module "$module")
	mkdir -p "$tree/kernel"
	cp "$file" "$tree/kernel/"
done
for list in modules.order modules.builtin modules.builtin.modinfo; do
	if [ -e "$kernel/$list" ]; then
		cp "$kernel/$list" "$tree/"
	fi
done

provider_after_modprobe() {
	depmod -b "$base" "$release" 2>"$WORK/depmod" || fail "depmod: $(cat "$WORK/depmod")"
	modprobe -d "$base" zram || fail "modprobe zram failed"
	echo 16M >/sys/block/zram0/disksize
	head -c 1M /dev/urandom >"$WORK/data"
	dd if="$WORK/data" of=/dev/zram0 bs=64k conv=fsync oflag=direct status=none
	dd if=/dev/zram0 bs=64k count=16 iflag=direct status=none | cmp - "$WORK/data" ||
		fail "zram gave back other bytes than were written"
}

provider_after_modprobe
! is_loaded zsmalloc_rs || fail "zsmalloc_rs was loaded before it was installed"
modprobe -d "$base" -r zram
! is_loaded zsmalloc || rmmod zsmalloc
note "without our modules, modprobe zram takes C zsmalloc"

mkdir "$tree/updates"
cp "$OURS" "$SHIM" "$tree/updates/"
provider_after_modprobe
is_loaded zsmalloc_rs || fail "modprobe zram took C zsmalloc although ours is installed in updates/"
grep -q '^zsmalloc_rs .*zsmalloc' /proc/modules || fail "zsmalloc is not the shim: $(grep zsmalloc /proc/modules)"
[ "$(ours pools)" = 1 ] || fail "zram has no pool in zsmalloc_rs, $(ours pools) are counted"
[ "$(ours words_live)" -gt 0 ] || fail "zram holds data and zsmalloc_rs has no object"
modprobe -d "$base" -r zram
! is_loaded zsmalloc || modprobe -d "$base" -r zsmalloc
! is_loaded zsmalloc_rs || rmmod zsmalloc_rs
note "with them in updates/, it takes ours"

# The aliases that zswap's zpool_get_driver asks modprobe for.
for alias in zpool-zsmalloc_rs:zsmalloc_rs zpool-zsmalloc:zsmalloc; do
	modprobe -d "$base" "${alias%:*}" || fail "no module answers to the alias ${alias%:*}"
	is_loaded "${alias#*:}" || fail "the alias ${alias%:*} did not load ${alias#*:}"
done
is_loaded zsmalloc_rs || fail "the alias zpool-zsmalloc did not load our shim"
rmmod zsmalloc
rmmod zsmalloc_rs

rm -r "$tree/updates"
provider_after_modprobe
! is_loaded zsmalloc_rs || fail "zsmalloc_rs is still loaded after it was removed"
modprobe -d "$base" -r zram
! is_loaded zsmalloc || rmmod zsmalloc
note "removed again, C zsmalloc is back"
finish
