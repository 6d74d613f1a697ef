# SPDX-License-Identifier: GPL-2.0
"""Swaps one image out and in through zswap on each allocator, in the guest.

    zswap.py IMAGE

IMAGE holds pages of real programs, /dev/vda is a disk to swap to. The pages are
paged out by madvise() and populated again, a call for many of them, and the
process's own time is taken: under -icount a nanosecond is an instruction, so it
is instructions for a page, compression included, without what waits for the disk.
What comes back is compared. zbud is measured too, which is always built in.
Results are lines of JSON as guest.py's.
"""

from __future__ import annotations

import contextlib
import mmap
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from guest import (  # noqa: E402
    ALLOCATOR,
    CHUNK,
    COMPRESSOR,
    DEBUGFS,
    PAGE_SIZE,
    SIDES,
    emit,
    read_image,
    say,
)

PARAMETERS = Path("/sys/module/zswap/parameters")
COUNTERS = DEBUGFS / "zswap"
ZPOOL = {"ours": "zsmalloc_rs", "c": "zsmalloc", "zbud": "zbud"}
# Of <linux/mman.h>; the module mmap does not name them.
MADV_NOHUGEPAGE, MADV_PAGEOUT, MADV_POPULATE_READ = 15, 21, 22


def counter(name: str) -> int:
    """One of zswap's counters."""
    return int((COUNTERS / name).read_text(encoding="ascii"))


def advise(memory: mmap.mmap, advice: int) -> int:
    """Give advice about all of the memory; returns instructions for a page."""
    start = time.process_time_ns()
    for offset in range(0, len(memory), CHUNK):
        memory.madvise(advice, offset, CHUNK)
    return (time.process_time_ns() - start) * PAGE_SIZE // len(memory)


def report(side: str, step: str, instructions: int) -> None:
    """Print what a step cost and what zswap holds after it."""
    emit(
        side,
        {
            "zswap": step,
            "instructions": instructions,
            "stored": counter("stored_pages"),
            "pool_bytes": counter("pool_total_size"),
        },
    )


def swap_out(side: str, step: str, memory: mmap.mmap) -> None:
    """Page all of the memory out; most of it must come to lie in zswap."""
    report(side, step, advise(memory, MADV_PAGEOUT))
    pages = len(memory) // PAGE_SIZE
    if counter("stored_pages") < pages * 9 // 10:
        sys.exit(f"{side}: {counter('stored_pages')} of {pages} pages are in zswap")


def swap_in(side: str, step: str, memory: mmap.mmap, expected: list[bytes]) -> None:
    """Bring all of the memory back and compare it."""
    report(side, step, advise(memory, MADV_POPULATE_READ))
    for number, data in enumerate(expected):
        if memory[number * CHUNK : (number + 1) * CHUNK] != data:
            sys.exit(f"{side}: other data came back from swap, in chunk {number}")


def measure(side: str, image: bytes) -> None:
    """All steps on one allocator."""
    if side in ALLOCATOR:
        subprocess.run(["insmod", ALLOCATOR[side]], check=True)
    for name, value in (
        ("compressor", COMPRESSOR),
        ("zpool", ZPOOL[side]),
        ("max_pool_percent", "90"),
        ("enabled", "Y"),
    ):
        (PARAMETERS / name).write_text(value, encoding="ascii")
    expected = [image[i : i + CHUNK] for i in range(0, len(image), CHUNK)]
    memory = mmap.mmap(-1, len(image), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(MADV_NOHUGEPAGE)
    memory[:] = image
    swap_out(side, "out", memory)
    swap_in(side, "in", memory, expected)
    # What is written frees the entry of what was swapped out.
    random.Random(1).shuffle(expected)
    for number, data in enumerate(expected):
        memory[number * CHUNK : (number + 1) * CHUNK] = data
    swap_out(side, "out_again", memory)
    swap_in(side, "in_again", memory, expected)
    memory.close()
    (PARAMETERS / "zpool").write_text("zbud", encoding="ascii")
    if side in ALLOCATOR:
        unload(ALLOCATOR[side].stem.replace("-", "_"))


def unload(module: str) -> None:
    """Unload a module; zswap gives a pool up a little later than it says."""
    for _ in range(100):
        if (
            subprocess.run(["rmmod", module], stderr=subprocess.DEVNULL, check=False).returncode
            == 0
        ):
            return
        time.sleep(0.1)
    sys.exit(f"{module} cannot be unloaded")


def main() -> None:
    """All allocators with the same image."""
    image = read_image()
    subprocess.run(["mkswap", "/dev/vda"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["swapon", "/dev/vda"], check=True)
    # One page for each fault: readahead would bring in others' pages.
    Path("/proc/sys/vm/page-cluster").write_text("0", encoding="ascii")
    for side in (*SIDES, "zbud"):
        say(f"{side}: {len(image) // PAGE_SIZE} pages through zswap")
        measure(side, image)


if __name__ == "__main__":
    main()
