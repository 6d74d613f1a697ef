# SPDX-License-Identifier: GPL-2.0
"""The demo's second part: fragment zram's pool, compact it, count the pages.

Real bytes are written to zram, half of the pages, chosen at random, are
discarded, then zram's ``compact`` attribute asks the allocator to move what is
left together. Runs in the virtual machine; both allocators get the same input.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import struct
from pathlib import Path

PAGE = 4096
BLKDISCARD = 0x1277
DEVICE = Path("/dev/zram0")
ZRAM = Path("/sys/block/zram0")
FILES = ("corpus.txt", "registers.h")
SEED = 3

SOURCES = {
    "stored_pages": "/sys/block/zram0/mm_stat orig_data_size / 4096, before any is discarded",
    "pool_pages_full": "/sys/block/zram0/mm_stat mem_used_total / 4096, before any is discarded",
    "pool_pages_fragmented": "the same, after a random half was discarded",
    "pool_pages_compacted": "the same, after 1 was written to /sys/block/zram0/compact",
    "pages_returned": "pool_pages_full - pool_pages_compacted",
    "corrupt": "pages that read back other than they were written, or not as zeros if discarded",
}


def statistics() -> tuple[int, int]:
    """What zram holds and what its pool takes, in pages."""
    original, _, used = (ZRAM / "mm_stat").read_text().split()[:3]
    return int(original) // PAGE, int(used) // PAGE


def content(folder: Path) -> list[bytes]:
    """The pages of the demo's input files."""
    pages = []
    for name in FILES:
        data = (folder / name).read_bytes()
        pages += [data[at : at + PAGE] for at in range(0, len(data) - PAGE + 1, PAGE)]
    return pages


def measure(folder: Path, plant: bool) -> dict[str, int]:
    """Fills, fragments and compacts zram0, which must be set up and empty.

    ``plant`` damages one byte of what is compared, to prove that this shows.
    """
    pages = content(folder)
    freed = set(random.Random(SEED).sample(range(len(pages)), len(pages) // 2))
    device = os.open(DEVICE, os.O_RDWR | os.O_DIRECT)
    # O_DIRECT wants an aligned buffer.
    with mmap.mmap(-1, PAGE) as buffer:
        for number, page in enumerate(pages):
            buffer[:] = page
            os.pwrite(device, buffer, number * PAGE)
        stored, full = statistics()
        for number in sorted(freed):
            fcntl.ioctl(device, BLKDISCARD, struct.pack("QQ", number * PAGE, PAGE))
        _, fragmented = statistics()
        (ZRAM / "compact").write_text("1")
        _, compacted = statistics()
        corrupt = 0
        if plant:
            pages[0] = bytes([pages[0][0] ^ 1]) + pages[0][1:]
            freed.discard(0)
        for number, page in enumerate(pages):
            os.preadv(device, [buffer], number * PAGE)
            corrupt += buffer[:] != (bytes(PAGE) if number in freed else page)
    os.close(device)
    return {
        "stored_pages": stored,
        "pool_pages_full": full,
        "pool_pages_fragmented": fragmented,
        "pool_pages_compacted": compacted,
        "pages_returned": full - compacted,
        "corrupt": corrupt,
    }
