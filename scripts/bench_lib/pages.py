# SPDX-License-Identifier: GPL-2.0
"""Takes pages out of the memory of real programs while they work.

    pages.py FILE

Starts some ordinary programs, stops each when it has grown, and copies random
pages of its anonymous memory (what would be swapped) to FILE. Pages filled with
one word are left out: neither zram nor zswap stores them.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

PAGE_SIZE = 4096
PAGES_EACH = 3000
# A program is looked at when it has this much anonymous memory, or ends.
GROWN_BYTES = 80 << 20
PATIENCE_S = 60.0

PYTHON = """
import ast, pathlib, sys, time
trees = []
for path in sorted(pathlib.Path(sys.prefix, "lib").rglob("python3*/*.py")):
    trees.append(ast.parse(path.read_bytes()))
time.sleep(60)
"""

SQL = """
pragma temp_store = memory;
create table line(t text);
.mode ascii
.separator "\\001" "\\n"
.import {text} line
create index by_length on line(length(t), t);
"""


def programs(folder: Path) -> Iterator[tuple[str, list[str], str | None]]:
    """Name, command and standard input of each program."""
    # Files for the programs to work on.
    tree = Path(os.environ["ZSRS_BENCH_KERNEL"]) / "source"
    text = folder / "text"
    with text.open("wb") as out:
        for path in sorted((tree / "mm").glob("*.c")) + sorted((tree / "fs").rglob("*.c")):
            out.write(path.read_bytes())
    registers = folder / "registers.c"
    headers = tree / "drivers/gpu/drm/amd/include/asic_reg"
    names = ("nbio/nbio_7_7_0_sh_mask.h", "dcn/dcn_3_0_0_sh_mask.h")
    registers.write_text("".join(f'#include "{headers / name}"\n' for name in names))
    core = Path(os.environ["RUST_LIB_SRC"]) / "core"
    with open(core / "Cargo.toml", "rb") as manifest:
        edition = tomllib.load(manifest)["package"]["edition"]
    yield "python3", ["/usr/bin/python3", "-c", PYTHON], None
    yield "sqlite3", ["sqlite3", "-batch", ":memory:"], SQL.format(text=text)
    yield (
        "gcc",
        ["gcc", "-S", "-O2", "-g3", "-w", "-o", "/dev/null", str(registers)],
        None,
    )
    yield (
        "rustc",
        ["rustc", f"--edition={edition}", "--crate-type=lib", "--crate-name=core"]
        + ["--emit=metadata", "-o", str(folder / "core.rmeta"), "-A", "warnings"]
        + [str(core / "src/lib.rs")],
        None,
    )


def anonymous(pid: int) -> list[int]:
    """Addresses of the anonymous pages of a process that are in memory."""
    addresses: list[int] = []
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            words = line.split()
            if not words[1].startswith("rw") or words[4] != "0" or words[-1] == "[vvar]":
                continue
            start, end = (int(word, 16) for word in words[0].split("-"))
            pagemap.seek(start // PAGE_SIZE * 8)
            entries = pagemap.read((end - start) // PAGE_SIZE * 8)
            present = memoryview(entries).cast("Q")
            addresses += [start + i * PAGE_SIZE for i, entry in enumerate(present) if entry >> 63]
    return addresses


def biggest(group: int) -> int:
    """The process of a group that has most memory: gcc, for one, starts others."""
    best, most = group, 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.getpgid(int(entry.name)) != group:
                continue
            size = int((entry / "statm").read_text().split()[1])
        except (OSError, ProcessLookupError):
            continue
        if size > most:
            best, most = int(entry.name), size
    return best


def take(pid: int, count: int, rng: random.Random) -> list[bytes]:
    """Random pages of a stopped process, none filled with one word."""
    addresses = anonymous(pid)
    rng.shuffle(addresses)
    taken: list[bytes] = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for address in addresses:
            if len(taken) == count:
                break
            memory.seek(address)
            page = memory.read(PAGE_SIZE)
            if len(page) == PAGE_SIZE and page != page[:8] * (PAGE_SIZE // 8):
                taken.append(page)
    return taken


def sample(name: str, command: list[str], text: str | None, rng: random.Random) -> list[bytes]:
    """Start a program, wait until it has grown, and take pages of it."""
    with tempfile.TemporaryFile("w+") as source:
        source.write(text or "")
        source.seek(0)
        process = subprocess.Popen(
            command,
            stdin=source,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.2)
                pid = biggest(process.pid)
                try:
                    size = len(anonymous(pid)) * PAGE_SIZE
                except OSError:
                    continue
                if size >= GROWN_BYTES:
                    break
            if process.poll() is not None:
                sys.exit(f"{name} ended before it had {GROWN_BYTES >> 20} MB of memory")
            os.killpg(process.pid, signal.SIGSTOP)
            pages = take(biggest(process.pid), PAGES_EACH, rng)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print(f"[pages] {name}: {len(pages)} pages of {size >> 20} MB", file=sys.stderr)
    return pages


def main() -> None:
    """Sample all programs into one file, in random order."""
    target = Path(sys.argv[1])
    rng = random.Random(1)
    pages: list[bytes] = []
    folder = Path(tempfile.mkdtemp(prefix="zsrs-pages."))
    try:
        for name, command, text in programs(folder):
            pages += sample(name, command, text, rng)
    finally:
        shutil.rmtree(folder)
    rng.shuffle(pages)
    target.write_bytes(b"".join(pages))


if __name__ == "__main__":
    main()
