#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# vm: flavours=normal soak=debug timeout=240 memory=1G cpus=2
#
# When memory runs short the kernel asks shrinkers for pages, and ours compacts:
# here as writing to drop_caches does it, with all other compaction off.
set -euo pipefail
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/lib.sh"

[ "$ZSRS_PROVIDER" = ours ] || skip "reads statistics of zsmalloc_rs"
load_zram 1
echo N >/sys/module/zsmalloc_rs/parameters/background_compaction
stats=$DEBUGFS/zsmalloc_rs/zram0/stats
pages=$(pick 4000 1000)

echo lzo >/sys/block/zram0/comp_algorithm
echo "$((pages * 4))K" >/sys/block/zram0/disksize
# Pages of which 500 to 3,000 bytes do not compress.
/usr/bin/python3 - "$pages" >"$WORK/data" <<'PYTHON'
import os, sys
for page in range(int(sys.argv[1])):
    sys.stdout.buffer.write(os.urandom(500 + page * 37 % 2500).ljust(4096, b"-"))
PYTHON
dd if="$WORK/data" of=/dev/zram0 bs=64k conv=fsync oflag=direct status=none

note "every other page is freed"
/usr/bin/python3 - "$pages" <<'PYTHON'
import os, sys
disk = os.open("/dev/zram0", os.O_RDWR)
for page in range(0, int(sys.argv[1]), 2):
    os.pwrite(disk, bytes(4096), page * 4096)
os.fsync(disk)
PYTHON
sleep 2
before=$(value "$stats" pages)
can=$(value "$stats" compactable_pages)
[ "$(value "$stats" pages_compacted)" = 0 ] || fail "there was compaction before anybody asked for it"
[ "$(value "$stats" pages_compacted_background)" = 0 ] || fail "there was compaction in the background, which is off"
[ "$can" -gt "$((before / 10))" ] || fail "only $can of $before pages can be won: this tests nothing"

note "the kernel asks for memory"
echo 2 >/proc/sys/vm/drop_caches
after=$(value "$stats" pages)
won=$(value "$stats" pages_compacted)
note "of $before pages, $can of which could be won, $won were given back; $after are left"
[ "$won" -ge "$((can / 2))" ] || fail "the shrinker gave back $won pages where $can could be won"
[ "$after" = "$((before - won))" ] || fail "$before pages less $won are not $after"

/usr/bin/python3 - "$WORK/data" <<'PYTHON'
import os, sys
data = open(sys.argv[1], "rb").read()
os.system("echo 1 >/proc/sys/vm/drop_caches")
disk = os.open("/dev/zram0", os.O_RDONLY)
for at in range(0, len(data), 4096):
    expected = bytes(4096) if at % 8192 == 0 else data[at : at + 4096]
    if os.pread(disk, 4096, at) != expected:
        sys.exit(f"the page at {at} came back wrong")
PYTHON
unload_zram
finish
