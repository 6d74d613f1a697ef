# SPDX-License-Identifier: GPL-2.0
"""Writes and reads one image through zram on each allocator, in the guest.

    zram.py IMAGE

IMAGE holds pages of real programs. Under -icount a nanosecond of the guest's
clock is an instruction, so that times are instructions for a page, compression
included. What is read is compared. Results are lines of JSON as guest.py's.
"""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from guest import (  # noqa: E402
    ALLOCATOR,
    BUILD,
    CHUNK,
    COMPRESSOR,
    KERNEL_MODULES,
    PAGE_SIZE,
    SIDES,
    emit,
    metadata,
    read_image,
    say,
)

DEVICE = Path("/sys/block/zram0")


def report(side: str, step: str, pages: int, nanoseconds: int) -> None:
    """Print what a step cost and what memory there is after it."""
    words = [int(word) for word in (DEVICE / "mm_stat").read_text(encoding="ascii").split()]
    emit(
        side,
        {
            "zram": step,
            "instructions": nanoseconds // pages,
            "original": words[0],
            "compressed": words[1],
            "pages": words[2] // PAGE_SIZE,
            **metadata(side),
        },
    )


def transfer(disk: int, chunks: list[tuple[int, mmap.mmap]], write: bool) -> int:
    """Write or read chunks at their offsets; returns nanoseconds."""
    start = time.monotonic_ns()
    for offset, buffer in chunks:
        done = os.pwritev(disk, [buffer], offset) if write else os.preadv(disk, [buffer], offset)
        if done != len(buffer):
            sys.exit(f"only {done} bytes of {len(buffer)} at {offset}")
    return time.monotonic_ns() - start


def aligned(data: bytes) -> mmap.mmap:
    """A page-aligned copy."""
    buffer = mmap.mmap(-1, len(data))
    buffer[:] = data
    return buffer


def measure(side: str, image: bytes) -> None:
    """All steps on one allocator."""
    modules = [ALLOCATOR[side]] + ([BUILD / "zsmalloc.ko"] if side == "ours" else [])
    modules.append(KERNEL_MODULES / "drivers/block/zram/zram.ko")
    for module in modules:
        subprocess.run(["insmod", module], check=True)
    (DEVICE / "comp_algorithm").write_text(COMPRESSOR, encoding="ascii")
    (DEVICE / "disksize").write_text(str(len(image)), encoding="ascii")
    disk = os.open("/dev/zram0", os.O_RDWR | os.O_DIRECT)
    pages = len(image) // PAGE_SIZE
    expected = [image[i : i + CHUNK] for i in range(0, len(image), CHUNK)]

    chunks = [(i * CHUNK, aligned(data)) for i, data in enumerate(expected)]
    report(side, "write", pages, transfer(disk, chunks, write=True))
    rng = random.Random(1)
    rng.shuffle(expected)
    chunks = [(i * CHUNK, aligned(data)) for i, data in enumerate(expected)]
    rng.shuffle(chunks)
    report(side, "overwrite", pages, transfer(disk, chunks, write=True))
    for _, buffer in chunks:
        buffer[:] = bytes(len(buffer))
    report(side, "read", pages, transfer(disk, chunks, write=False))
    if any(buffer[:] != expected[offset // CHUNK] for offset, buffer in chunks):
        sys.exit(f"{side}: zram returned other data than was written")
    (DEVICE / "compact").write_text("1", encoding="ascii")
    report(side, "compact", pages, 0)
    os.close(disk)
    (DEVICE / "reset").write_text("1", encoding="ascii")
    for module in reversed(modules):
        subprocess.run(["rmmod", module.stem.replace("-", "_")], check=True)


def main() -> None:
    """Both sides with the same image."""
    image = read_image()
    for side in SIDES:
        say(f"{side}: {len(image) // PAGE_SIZE} pages through zram")
        measure(side, image)


if __name__ == "__main__":
    main()
