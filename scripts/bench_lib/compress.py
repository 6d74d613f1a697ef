# SPDX-License-Identifier: GPL-2.0
"""Has the kernel compress pages, one by one, and prints how large each became.

    compress.py FILE        in the guest

Writes each page of FILE to a zram device and looks how much its compressed data
grew: exactly the sizes that zram asks its allocator for. Prints, for each
compressor, `HISTOGRAM NAME JSON`.
"""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path

PAGE_SIZE = 4096
BIN = 64
COMPRESSORS = ("lzo-rle", "lz4", "zstd")


def histogram(number: int, pages: bytes) -> dict[str, object]:
    """Write the pages to a zram device and sort their sizes into bins."""
    device = Path(f"/sys/block/zram{number}")
    shares = [0] * (PAGE_SIZE // BIN)
    total = before = count = 0
    buffer = mmap.mmap(-1, PAGE_SIZE)
    disk = os.open(f"/dev/zram{number}", os.O_RDWR | os.O_DIRECT)
    statistics = os.open(device / "mm_stat", os.O_RDONLY)
    for offset in range(0, len(pages), PAGE_SIZE):
        buffer[:] = pages[offset : offset + PAGE_SIZE]
        os.pwrite(disk, buffer, offset)
        size = int(os.pread(statistics, 256, 0).split()[1])
        if size != before:
            shares[(size - before - 1) // BIN] += 1
            total += size - before
            count += 1
        before = size
    os.close(disk)
    os.close(statistics)
    return {"pages": count, "mean": round(total / count, 1), "shares": shares}


def main() -> None:
    """All compressors in turn."""
    kernel = Path(os.environ["ZSRS_KDIR"])
    pages = Path(sys.argv[1]).read_bytes()
    subprocess.run(["insmod", kernel / "mm/zsmalloc.ko"], check=True)
    zram = kernel / "drivers/block/zram/zram.ko"
    subprocess.run(["insmod", zram, f"num_devices={len(COMPRESSORS)}"], check=True)
    for number, name in enumerate(COMPRESSORS):
        device = Path(f"/sys/block/zram{number}")
        (device / "comp_algorithm").write_text(name)
        (device / "disksize").write_text(str(len(pages)))
        found = {"compressor": name, **histogram(number, pages)}
        print(f"HISTOGRAM {name} {json.dumps(found)}", flush=True)
        (device / "reset").write_text("1")


if __name__ == "__main__":
    main()
