#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours= soak=normal,debug timeout=600 memory=1G cpus=2 disk=64M
#
# The allocator's own writeback when things go wrong: the disk under
# samples/zsrs_store.c fills up, so that evictions are refused and zspages put
# back; a block of it is damaged; the client is given wrong parameters and wrong
# requests. An error each time, and no page is lost.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/vm/writeback_lib.sh
. "$(dirname "$0")/writeback_lib.sh"

disk=$(swap_disk)
limit=64

# refused WORDS PARAMETER...: not loaded, and the kernel log says why.
refused() {
	local words=$1
	shift
	must_fail "zsrs_store with $*" insmod "$store" "$@"
	! is_loaded zsrs_store || fail "zsrs_store is loaded although $* was refused"
	dmesg | tail -n 3 | grep -qF "zsrs_store: $words" || fail "the kernel log does not say \"$words\" for $*"
	expect_ours_zero
}

# put PAGE COUNT [FROM]: pages of the data, from page FROM (PAGE) on.
put() {
	dd if="$WORK/data" of=/dev/zsrs_store bs=4k seek="$1" count="$2" skip="${3:-$1}" conv=notrunc status=none
}

# same PAGE COUNT [FROM]: what the device has is the data's from page FROM (PAGE) on.
same() {
	dd if=/dev/zsrs_store bs=4k skip="$1" count="$2" status=none |
		cmp - <(dd if="$WORK/data" bs=4k skip="${3:-$1}" count="$2" status=none)
}

load_ours
refused "no device for evicted pages"
refused "cannot open the block device /dev/nosuch" device=/dev/nosuch
refused "cannot open the block device /dev/null" device=/dev/null
refused "limit=63 is too small" device="$disk" limit=63
refused "this kernel has no compressor \"nosuch\"" device="$disk" compressor=nosuch
mkswap "$disk" >"$WORK/mkswap" 2>&1
swapon "$disk"
refused "cannot open the block device $disk: error -16; something else uses it" device="$disk"
swapoff "$disk"
note "wrong parameters are refused"

pages=1600
{ cat "$OURS" "$ROOT"/rust/*/*.rs /usr/bin/[ace]* 2>/dev/null || true; } | head -c $((pages * 4096)) >"$WORK/data"
# Pages of zeros would be stored nowhere, and tell nothing.
/usr/bin/python3 -B - "$WORK/data" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:
    for at in range(0, file.seek(0, 2), 4096):
        file.seek(at)
        file.write(b"page %4d" % (at // 4096))
END

# A disk of which some blocks are damaged.
insmod "$store" device="$disk" limit="$limit"
must_fail "loading it for a disk that is in use" insmod "$store" device="$disk"
put 0 100
must_fail "reclaiming more than there is" write_to "$DEBUGFS/zsrs_store/shrink" 1000
[ "$(counter on_disk)" = 100 ] || fail "$(counter on_disk) of 100 pages are on the disk"
same 0 100 || fail "pages came back wrong from the disk"
dd if=/dev/urandom of="$disk" bs=4k seek=5 count=1 oflag=direct conv=notrunc status=none
must_fail "reading a page that was damaged on the disk" dd if=/dev/zsrs_store of=/dev/null bs=4k skip=5 count=1
grep -q "Input/output error" "$WORK/refusal" || fail "a damaged page is not reported as an I/O error"
[ "$(counter corrupt)" = 1 ] || fail "the counter corrupt is $(counter corrupt), not 1"
same 0 5 || fail "a damaged page took others with it"
same 6 94 || fail "a damaged page took others with it"
put 5 1
same 0 100 || fail "the damaged page cannot be overwritten"
note "a damaged block is told, and can be overwritten"

# Wrong requests.
must_fail "half a page" dd if="$WORK/data" of=/dev/zsrs_store bs=2k count=1
must_fail "a page at an odd place" dd if="$WORK/data" of=/dev/zsrs_store bs=4k count=1 seek=2k oflag=seek_bytes
must_fail "a page behind the end" dd if="$WORK/data" of=/dev/zsrs_store bs=4k count=1 seek=$((64 * 256))
grep -q "No space left" "$WORK/refusal" || fail "a page behind the end: $(cat "$WORK/refusal")"
[ "$(dd if=/dev/zsrs_store bs=64k skip=64M iflag=skip_bytes status=none | wc -c)" = 0 ] || fail "there are pages behind the end"
[ "$(dd if=/dev/zsrs_store bs=64k skip=$((64 * 1024 * 1024 - 8192)) iflag=skip_bytes status=none | wc -c)" = 8192 ] ||
	fail "a read across the end does not end there"
exec 7</dev/zsrs_store
must_fail "unloading it while it is in use" rmmod zsrs_store
exec 7<&-
same 0 100 || fail "wrong requests have changed pages"
rmmod zsrs_store
expect_ours_zero

# A disk that takes 400 pages and then fails: a file in too small a file system.
mkdir "$WORK/small"
mount -t tmpfs -o size=1600k none "$WORK/small"
truncate -s 64M "$WORK/small/image"
loop=$(losetup --find --show "$WORK/small/image")
insmod "$store" device="$loop" limit="$limit"
put 0 "$pages" 2>"$WORK/refusal" && fail "$pages pages were stored in $limit pages and a disk of 400"
grep -q "No space left" "$WORK/refusal" || fail "a full pool: $(cat "$WORK/refusal")"
stored=$(($(counter stored) + $(counter on_disk)))
for key in rejected refused io_errors evicted; do
	[ "$(counter $key)" -gt 0 ] || fail "the counter $key is 0 although the disk failed"
done
[ "$(ours words_live)" = "$(counter stored)" ] || fail "$(ours words_live) objects for $(counter stored) pages"
note "the disk is full: $(counter stored) pages in the pool, $(counter on_disk) on the disk," \
	"$(counter refused) evictions refused"
same 0 "$stored" || fail "pages were lost or damaged when the disk failed"
must_fail "overwriting a page with a full pool" put 3 1 700
same 0 "$stored" || fail "an overwrite that failed has changed the page"
# Dropping pages needs no room, and makes some.
dd if=/dev/zero of=/dev/zsrs_store bs=4k count="$stored" conv=notrunc status=none
[ "$(counter stored):$(counter on_disk):$(ours words_live)" = 0:0:0 ] || fail "dropped pages are still there"
dd if=/dev/zsrs_store bs=4k count="$stored" status=none | cmp -n $((stored * 4096)) - /dev/zero ||
	fail "dropped pages are not zeros"

# With the file system enlarged, all goes well again.
put 0 "$pages" 2>/dev/null && fail "$pages pages were stored in $limit pages and a disk of 400"
mount -o remount,size=16M "$WORK/small"
put 0 "$pages" || fail "writing still fails with a disk that works again"
same 0 "$pages" || fail "pages are wrong after the disk had failed and worked again"
[ "$(counter corrupt)" = 0 ] || fail "the counter corrupt is $(counter corrupt)"
note "it works again: $(counter stored) pages in the pool, $(counter on_disk) on the disk"

rmmod zsrs_store
losetup -d "$loop"
umount "$WORK/small"
finish
