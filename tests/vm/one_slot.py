# SPDX-License-Identifier: GPL-2.0
"""Several processes write the same few pages of a block device, and read them.

    one_slot.py DEVICE SECONDS

Each writer has pages of its own kind; whatever a read returns must be one whole
page of one writer. Exit status 0 if that held, 1 if not; ends by printing how
many pages were written and read.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from multiprocessing import Pool

PAGE = 4096
SLOTS = 4
WRITERS = 4


def page_of(writer: int, slot: int, turn: int) -> bytes:
    """A page that only this writer writes: its number, then what compresses to any size."""
    head = bytes((writer, slot, turn & 0xFF)) * 2
    noise = (turn * 97 + writer * 1031) % 3000
    block = head + bytes((turn * 7 + i * i + writer) & 0xFF for i in range(58))
    return (block * 64)[:noise] + head[:1] * (PAGE - noise)


def pages_of(writer: int) -> dict[int, set[bytes]]:
    """All pages that a writer may have written, by slot."""
    return {slot: {page_of(writer, slot, turn) for turn in range(64)} for slot in range(SLOTS)}


def work(arguments: tuple[str, int, float]) -> tuple[int, int, int]:
    """Writes and reads until the time is over: pages written, read, wrong."""
    device, writer, seconds = arguments
    mine = {s: [page_of(writer, s, t) for t in range(64)] for s in range(SLOTS)}
    valid: dict[int, set[bytes]] = {slot: {bytes(PAGE)} for slot in range(SLOTS)}
    for other in range(WRITERS):
        for slot, pages in pages_of(other).items():
            valid[slot] |= pages
    buffer = mmap.mmap(-1, PAGE)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT)
    written = read = wrong = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        slot = written % SLOTS
        buffer[:] = mine[slot][(written * 13) % 64]
        os.pwrite(fd, buffer, slot * PAGE)
        written += 1
        os.preadv(fd, [buffer], slot * PAGE)
        read += 1
        if bytes(buffer) not in valid[slot]:
            wrong += 1
            if wrong == 1:
                print(f"one_slot: page {slot} holds what nobody wrote: {bytes(buffer[:32])!r}…")
    os.close(fd)
    return written, read, wrong


def main() -> int:
    """Starts the writers and sums up."""
    device, seconds = sys.argv[1], float(sys.argv[2])
    with Pool(WRITERS) as pool:
        results = pool.map(work, [(device, writer, seconds) for writer in range(WRITERS)])
    written, read, wrong = (sum(column) for column in zip(*results, strict=True))
    print(f"one_slot: written={written} read={read} wrong={wrong}")
    return 1 if wrong or not written else 0


if __name__ == "__main__":
    sys.exit(main())
