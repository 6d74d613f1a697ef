# SPDX-License-Identifier: GPL-2.0
"""Runs benchmark commands in the guest and prints their results.

    guest.py [--params 'KEY=VALUE...'] SIDE:COMMAND...

SIDE is `ours` or `c`; COMMAND one of the module's (tests/bench/main.h), after
which `@OPERATION` may name what a profiler shall look at. Each result is a line of JSON on standard output, with the
side it belongs to. Other output goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BUILD = Path(os.environ["ZSRS_BUILD"])
KERNEL_MODULES = Path(os.environ["ZSRS_KDIR"])
ROOT = Path.cwd()
DEBUGFS = Path("/sys/kernel/debug")
PAGE_SIZE = 4096
# What images of pages are handled in: bytes.
CHUNK = 64 * PAGE_SIZE
COMPRESSOR = "lzo-rle"
SIDES = ("ours", "c")

# The module with each side's allocator, the benchmark on it, and its debugfs folder.
ALLOCATOR = {"ours": BUILD / "zsmalloc-rs.ko", "c": KERNEL_MODULES / "mm/zsmalloc.ko"}
BENCH = {
    "ours": BUILD / "tests/bench/zsrs_bench_ours.ko",
    "c": BUILD / "tests/bench/zsrs_bench_c.ko",
}
CLASSES = {"ours": DEBUGFS / "zsmalloc_rs/bench/classes", "c": DEBUGFS / "zsmalloc/bench/classes"}

Record = dict[str, object]


def say(text: str) -> None:
    """A progress line."""
    print(f"[guest] {text}", file=sys.stderr, flush=True)


def read_image() -> bytes:
    """The image that the command line names, in whole chunks."""
    image = Path(sys.argv[1]).read_bytes()
    return image[: len(image) // CHUNK * CHUNK]


def kernel_log() -> list[str]:
    """The kernel's messages since the last call."""
    run = subprocess.run(["dmesg", "-c"], stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.splitlines()


def emit(side: str, record: Record) -> None:
    """Print one result."""
    print("RESULT " + json.dumps({"side": side, **record}, separators=(",", ":")), flush=True)


def slab_bytes(prefixes: tuple[str, ...]) -> int:
    """What the slab caches with these names take, whole slabs."""
    total = 0
    for line in Path("/proc/slabinfo").read_text(encoding="ascii").splitlines()[2:]:
        words = line.split()
        if words[0].startswith(prefixes):
            total += int(words[14]) * int(words[5]) * PAGE_SIZE
    return total


def counters(path: Path) -> dict[str, int]:
    """A file of lines `NAME VALUE`."""
    lines = path.read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def metadata(side: str) -> Record:
    """Memory beside the objects' own pages, in bytes."""
    if side == "c":
        return {"handles": slab_bytes(("zs_handle",)), "zspages": slab_bytes(("zspage",))}
    pages = counters(DEBUGFS / "zsmalloc_rs/stats")
    return {
        "handles": pages["word_pages"] * PAGE_SIZE,
        "zspages": pages["zspage_pages"] * PAGE_SIZE,
    }


def density(side: str) -> Iterator[list[int]]:
    """Of each class with objects: size, slots, objects, pages."""
    for line in CLASSES[side].read_text(encoding="ascii").splitlines():
        words = line.split()
        if words and words[0].isdigit() and len(words) >= 18:
            size, slots, objects, pages = (int(words[i]) for i in (1, 13, 14, 15))
            if slots:
                yield [size, slots, objects, pages]


def run_module(side: str, command: str) -> None:
    """Have a benchmark module run a command, and pass on what it logs."""
    parameters = Path(f"/sys/module/zsrs_bench_{side}/parameters")
    error = None
    command, _, profiled = command.partition("@")
    if profiled:
        (parameters / "profile").write_text(profiled, encoding="ascii")
    try:
        (parameters / "run").write_text(command, encoding="ascii")
    except OSError as problem:
        error = problem
    lines = kernel_log()
    for line in lines:
        match = re.search(r"zsrs_bench_\w+: BENCH (\{.*\})", line)
        if match:
            record: Record = json.loads(match[1])
            if "memory" in record:
                record |= metadata(side)
                record["classes"] = list(density(side))
            emit(side, {"command": command, **record})
    if error:
        for line in lines[-20:]:
            say(line)
        sys.exit(f"the command {command!r} failed on {side}: {error.strerror}")


def load(side: str, parameters: list[str], chain: int) -> None:
    """Load a side's allocator and the benchmark on it."""
    allocator, options = ALLOCATOR[side], []
    if side == "ours":
        options = [f"chain={chain}"]
    elif chain != 8:
        allocator = BUILD.parent / f"c-chain-{chain}/zsmalloc.ko"
    for module, values in ((allocator, options), (BENCH[side], parameters)):
        subprocess.run(["insmod", module, *values], check=True)


def main() -> None:
    """Run the commands given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--params", default="", help="parameters of the benchmark modules")
    parser.add_argument("--chain", type=int, default=8, help="longest chain of pages; 8")
    parser.add_argument("commands", nargs="+", metavar="SIDE:COMMAND")
    arguments = parser.parse_args()
    commands = [command.split(":", 1) for command in arguments.commands]
    kernel_log()
    for side in sorted({side for side, _ in commands}):
        load(side, arguments.params.split(), arguments.chain)
    if results := os.environ.get("ZSRS_RESULTS"):
        # For the profiler: where the modules' functions are.
        Path(results, "kallsyms").write_bytes(Path("/proc/kallsyms").read_bytes())
    for side, command in commands:
        say(f"{side}: {command}")
        run_module(side, command)


if __name__ == "__main__":
    main()
