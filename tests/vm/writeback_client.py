#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""One of several processes that use /dev/zsrs_store at once and check each byte.

    writeback_client.py --data FILE --worker N --workers M --ops COUNT

The device's page I holds page I of FILE when this starts, or after --fill. Each worker owns the
pages whose number is N modulo M: it reads, overwrites with other pages of FILE
and drops (writes zeros), at random, and knows what each must hold. Behind them
lie pages that all workers write and read: those must be whole and written for
their place, by whomever. In the end all own pages are read and compared.

Exit status: 0 all right, 1 a page was wrong, 2 the device failed.
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import struct
import sys
from collections import deque

PAGE = 4096
ZEROS = bytes(PAGE)
DROPPED = -1
SHARED_PAGES = 32
RECENT = 48
REPORTED = 5
# At the head of a shared page: its number, the page of the file that follows.
SHARED_HEADER = struct.Struct("<QQ")


class Worker:
    """A worker, and what its pages must hold."""

    def __init__(self, options: argparse.Namespace, data: mmap.mmap, device: int) -> None:
        self.data = data
        self.device = device
        self.pages = len(data) // PAGE
        window = min(options.window or self.pages, self.pages)
        self.own = range(options.worker, window, options.workers)
        self.shared = range(self.pages, self.pages + min(SHARED_PAGES, window))
        # The page of the file that a page of the device holds, or DROPPED.
        self.holds = {index: index for index in self.own}
        self.random = random.Random(options.worker + 1)
        self.recent: deque[int] = deque(self.own[:RECENT], maxlen=RECENT)
        self.wrong = 0
        self.done = {"reads": 0, "writes": 0, "drops": 0, "shared": 0}

    def source(self, page: int) -> bytes:
        """A page of the file, or the zeros of a dropped one."""
        return ZEROS if page == DROPPED else self.data[page * PAGE : (page + 1) * PAGE]

    def put(self, index: int, page: bytes) -> None:
        """Write a page of the device."""
        if os.pwrite(self.device, page, index * PAGE) != PAGE:
            raise OSError(f"page {index} was not written whole")

    def get(self, index: int) -> bytes:
        """Read a page of the device."""
        return os.pread(self.device, PAGE, index * PAGE)

    def compare(self, index: int, got: bytes, wanted: bytes) -> None:
        """Count and report a page that is not what it must be."""
        if got == wanted:
            return
        self.wrong += 1
        if self.wrong <= REPORTED:
            at = next(
                (i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), len(got)
            )
            print(f"page {index} is wrong from byte {at} of {len(got)} on", file=sys.stderr)

    def check(self, index: int) -> None:
        """Read an own page and compare it."""
        self.compare(index, self.get(index), self.source(self.holds[index]))

    def pick(self) -> int:
        """An own page: as often one of the last written as any."""
        return self.random.choice(self.recent if self.random.random() < 0.5 else self.own)

    def step(self) -> None:
        """Do one thing at random."""
        kind = self.random.random()
        if kind < 0.35:
            self.check(self.pick())
            self.done["reads"] += 1
        elif kind < 0.75:
            index = self.pick()
            drop = kind >= 0.68
            page = DROPPED if drop else self.random.randrange(self.pages)
            self.put(index, self.source(page))
            self.holds[index] = page
            self.recent.append(index)
            self.done["drops" if drop else "writes"] += 1
        else:
            self.share(self.random.choice(self.shared))
            self.done["shared"] += 1

    def share(self, index: int) -> None:
        """Write a page that others write too, or check whatever is there."""
        if self.random.random() < 0.5:
            page = self.random.randrange(self.pages)
            header = SHARED_HEADER.pack(index, page)
            self.put(index, header + self.source(page)[len(header) :])
            return
        got = self.get(index)
        if got != ZEROS:
            page = SHARED_HEADER.unpack_from(got)[1] % self.pages
            header = SHARED_HEADER.pack(index, page)
            self.compare(index, got, header + self.source(page)[len(header) :])


def main() -> int:
    """Run one worker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="/dev/zsrs_store")
    parser.add_argument("--data", required=True, help="what the device holds")
    parser.add_argument("--worker", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ops", type=int, default=1000)
    parser.add_argument("--window", type=int, help="use only so many pages, but for the shared")
    parser.add_argument("--fill", action="store_true", help="write the own pages first")
    parser.add_argument("--plant", action="store_true", help="expect a wrong page once")
    options = parser.parse_args()
    with open(options.data, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    device = os.open(options.device, os.O_RDWR)
    worker = Worker(options, data, device)
    try:
        for index in worker.own if options.fill else ():
            worker.put(index, worker.source(index))
        for _ in range(options.ops):
            worker.step()
        if options.plant:
            worker.holds[worker.own[0]] = worker.own[1]
        for index in worker.own:
            worker.check(index)
    except OSError as error:
        print(f"worker {options.worker}: {error}", file=sys.stderr)
        return 2
    done = ", ".join(f"{number} {what}" for what, number in worker.done.items())
    print(f"  worker {options.worker}: {done}, {len(worker.own)} compared, {worker.wrong} wrong")
    return 1 if worker.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
