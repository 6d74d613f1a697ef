# SPDX-License-Identifier: GPL-2.0
"""Tells where the instructions of operations go.

    scripts/bench profile OPERATION... [--side c]

OPERATION is a name of the benchmark's cost part (malloc_fill, malloc_steady,
free, free_drain, pair, map_ro, map_rw, map_wo, read, migrate_page,
compact_object). Runs the benchmark under a QEMU plugin that counts every
instruction between the marks around the operation, and prints instructions for
one operation by function and, for our module, by source line with what was
inlined there. Raw counts are kept in out/bench/profile.
"""

from __future__ import annotations

import argparse
import bisect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vms import OUT, Profile, profile  # noqa: E402


def symbols() -> tuple[list[int], list[tuple[str, str]]]:
    """Addresses, and for each the symbol and its module, in order."""
    table = []
    for line in (OUT / "vm/bench-profile.d/kallsyms").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[1] in "tTwW":
            module = words[3].strip("[]") if len(words) > 3 else ""
            table.append((int(words[0], 16), words[2], module))
    table.sort()
    return [entry[0] for entry in table], [entry[1:] for entry in table]


def demangle(names: list[str]) -> dict[str, str]:
    """Readable names, without hashes."""
    text = subprocess.run(
        ["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    return {
        name: re.sub(r"\[[0-9a-f]{16}\]", "", plain)
        for name, plain in zip(names, text.splitlines(), strict=True)
    }


def section_offsets(module: Path) -> dict[str, int]:
    """Where the functions of a module's .text are."""
    nm = subprocess.run(["nm", module], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {
        words[2]: int(words[0], 16)
        for words in (line.split() for line in nm.splitlines())
        if len(words) == 3 and words[1] in "tT"
    }


def inlined(module: Path, offsets: list[int]) -> list[list[tuple[str, str]]]:
    """For each offset in .text the functions and lines of ours, innermost first.

    What is inlined from Rust's own libraries counts for the line that calls it.
    """
    text = subprocess.run(
        ["addr2line", "-e", module, "-j", ".text", "-i", "-a", "-f", "-C"],
        input="\n".join(hex(offset) for offset in offsets),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    root = f"{module.parent}/"
    found: list[list[tuple[str, str]]] = []
    function = ""
    for line in text.splitlines():
        if line.startswith("0x"):
            found.append([])
            function = ""
        elif not function:
            function = line
        else:
            if line.startswith(root):
                place = line.removeprefix(root).split(" (")[0]
                name = re.sub(r"<[^<>]*>$", "", function).rsplit("::", 1)[-1]
                found[-1].append((name, place))
            function = ""
    return found


def show(title: str, counts: Counter[str], times: int, lines: int) -> None:
    """Print a table of what one operation costs."""
    print(f"\n{'':>13}  {title}")
    for name, count in counts.most_common(lines):
        if count / times >= 0.05:
            print(f"{count / times:13.2f}  {name}")


def print_profile(operation: str, side: str, seen: Profile, lines: int) -> None:
    """Print the tables of one operation."""
    print(
        f"\n== {operation} on {side}: {seen.times} times, {seen.mean:.1f} instructions on average"
    )
    print(
        f"   {seen.of_each(seen.atomics)} atomic, {seen.of_each(seen.misses)} cache misses (1 MiB)"
    )
    starts, names = symbols()
    by_function: Counter[tuple[str, str]] = Counter()
    misses: Counter[tuple[str, str]] = Counter()
    atomics: Counter[tuple[str, str]] = Counter()
    ours: list[tuple[str, int, int, int]] = []
    for address, count in seen.instructions.items():
        index = bisect.bisect_right(starts, address) - 1
        by_function[names[index]] += count
        misses[names[index]] += seen.misses[address]
        atomics[names[index]] += seen.atomics[address]
        if names[index][1] == "zsmalloc_rs":
            offset = address - starts[index]
            ours.append((names[index][0], offset, count, seen.misses[address]))
    plain = demangle([name for name, _ in by_function])
    print(f"\n{'instructions':>13} {'atomic':>7} {'misses':>7}  function")
    for key, count in by_function.most_common(lines):
        if count / seen.times >= 0.05:
            module = f"  [{key[1]}]" if key[1] else ""
            rest = f"{atomics[key] / seen.times:7.2f} {misses[key] / seen.times:7.2f}"
            print(f"{count / seen.times:13.2f} {rest}  {plain[key[0]]}{module}")
    if not ours:
        return
    module_file = OUT / "build/normal/zsmalloc-rs.ko"
    offsets = section_offsets(module_file)
    known = [(offsets[entry[0]] + entry[1], *entry[2:]) for entry in ours if entry[0] in offsets]
    functions: Counter[str] = Counter()
    places: Counter[str] = Counter()
    cold: Counter[str] = Counter()
    frames = inlined(module_file, [entry[0] for entry in known])
    for stack, (_, count, missed) in zip(frames, known, strict=True):
        if not stack:
            continue
        place = " < ".join(place for _, place in stack[:5])
        functions[f"{stack[0][0]}  {stack[0][1].split(':')[0]}"] += count
        places[place] += count
        cold[place] += missed
    show("instructions by function of ours, inlined or not", functions, seen.times, lines)
    show("instructions by source line < where it is inlined", places, seen.times, lines)
    show("cache misses by source line", cold, seen.times, lines)


def main() -> None:
    """Profile operations."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("operations", nargs="+", metavar="OPERATION")
    parser.add_argument("--side", default="ours", choices=("ours", "c"))
    parser.add_argument("--objects", type=int, default=8000, help="objects in the pool; 8000")
    parser.add_argument("--lines", type=int, default=60, help="lines of each table; 60")
    arguments = parser.parse_args()
    wanted = [(arguments.side, operation) for operation in arguments.operations]
    for (side, operation), seen in zip(wanted, profile(wanted, arguments.objects), strict=True):
        print_profile(operation, side, seen, arguments.lines)


if __name__ == "__main__":
    main()
