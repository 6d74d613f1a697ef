# SPDX-License-Identifier: GPL-2.0
"""Tells where the instructions of one operation go.

    scripts/bench profile OPERATION [SIDE]

OPERATION is a name of the benchmark's cost part (malloc_fill, malloc_steady,
free, free_drain, pair, map_ro, map_rw, map_wo, read, migrate_page,
compact_object); SIDE is `ours` (the default) or `c`. Runs the benchmark under a
QEMU plugin that counts every instruction between the marks around the
operation, and prints instructions per operation by function and, for our
module, by source line with what was inlined there. Raw counts are kept in
out/bench/profile.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from bench import GUEST, with_sizes  # noqa: E402

ROOT = Path(os.environ["ROOT"])
OUT = Path(os.environ["OUT"])
FOLDER = OUT / "bench/profile"
PLUGIN = FOLDER / "profile.so"
NAME = "bench-profile"


def build_plugin() -> None:
    """Compile the plugin, and a qemu of the same name that loads it."""
    source = ROOT / "tests/bench/profile/plugin.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", PLUGIN, source], check=True)
    wrapper = FOLDER / "bin/qemu-system-x86_64"
    wrapper.parent.mkdir(exist_ok=True)
    real = "/usr/bin/qemu-system-x86_64"
    wrapper.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" -kernel "*) ;; *) exec ' + real + ' "$@" ;; esac\n'
        f'exec {real} "$@" -plugin {PLUGIN},out={FOLDER}/counts\n',
        encoding="utf-8",
    )
    wrapper.chmod(0o755)


def run(operation: str, side: str, objects: int) -> int:
    """Run the benchmark under the plugin; returns how often the operation ran."""
    (FOLDER / "counts").unlink(missing_ok=True)
    arguments = with_sizes([f"{side}:{'aged' if 'aged' in operation else 'cost'} {objects}"])
    arguments[1] += f" profile={operation}"
    command = [str(ROOT / "scripts/vm"), "--kernel", "normal", "--name", NAME, "--icount"]
    command += ["--timeout", "900", "--", "/usr/bin/python3", GUEST, *arguments]
    path = f"{FOLDER / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "PATH": path},
    )
    if done.returncode != 0:
        sys.exit(f"[profile] the VM's exit status is {done.returncode}; see out/vm/{NAME}.log")
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            record = json.loads(line.removeprefix("RESULT "))
            if record.get("op") == operation:
                count, mean = record["count"], record["sum"] / record["count"]
                print(f"{operation} on {side}: {count} times, {mean:.0f} instructions on average")
                return int(count)
    sys.exit(f"[profile] there is no operation {operation!r}; see scripts/bench profile --help")


def symbols() -> tuple[list[int], list[tuple[str, str]]]:
    """Addresses, and for each the symbol and its module, in order."""
    table = []
    for line in (OUT / f"vm/{NAME}.d/kallsyms").read_text(encoding="utf-8").splitlines():
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
    """Print a table of instructions per operation."""
    print(f"\n{'per operation':>13}  {title}")
    for name, count in counts.most_common(lines):
        if count / times >= 0.05:
            print(f"{count / times:13.2f}  {name}")


def main() -> None:
    """Profile one operation."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("operation")
    parser.add_argument("side", nargs="?", default="ours", choices=("ours", "c"))
    parser.add_argument("--objects", type=int, default=8000, help="objects in the pool; 8000")
    parser.add_argument("--lines", type=int, default=60, help="lines of each table; 60")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    build_plugin()
    times = run(arguments.operation, arguments.side, arguments.objects)
    starts, names = symbols()
    by_address: Counter[int] = Counter()
    for line in (FOLDER / "counts").read_text(encoding="ascii").splitlines():
        address, count = line.split()
        by_address[int(address, 16)] += int(count)

    by_function: Counter[tuple[str, str]] = Counter()
    ours: list[tuple[str, int, int]] = []
    for address, count in by_address.items():
        index = bisect.bisect_right(starts, address) - 1
        by_function[names[index]] += count
        if names[index][1] == "zsmalloc_rs":
            ours.append((names[index][0], address - starts[index], count))
    plain = demangle([name for name, _ in by_function])
    labels: Counter[str] = Counter()
    for (name, module), count in by_function.items():
        labels[plain[name] + (f"  [{module}]" if module else "")] += count
    total = sum(by_address.values()) / times
    show(f"function ({total:.1f} in all)", labels, times, arguments.lines)
    if not ours:
        return
    module_file = OUT / "build/normal/zsmalloc-rs.ko"
    offsets = section_offsets(module_file)
    known = [(offsets[name] + offset, count) for name, offset, count in ours if name in offsets]
    functions: Counter[str] = Counter()
    places: Counter[str] = Counter()
    frames = inlined(module_file, [offset for offset, _ in known])
    for stack, (_, count) in zip(frames, known, strict=True):
        if not stack:
            continue
        functions[f"{stack[0][0]}  {stack[0][1].split(':')[0]}"] += count
        places[" < ".join(place for _, place in stack[:5])] += count
    show("function of ours, by itself, inlined or not", functions, times, arguments.lines)
    show("source line < where it is inlined", places, times, arguments.lines)


if __name__ == "__main__":
    main()
