# SPDX-License-Identifier: GPL-2.0
"""Runs the parts of the benchmark in VMs and gathers their figures.

    scripts/bench [PART...]

Parts:
  cost      instructions of single operations (QEMU -icount), ours and C
  memory    all memory per live byte while a pool grows, churns and drains
  threads   two threads on one pool (TCG on two CPUs; only ratios mean anything)
  atomics   atomic instructions and cache misses of single operations
  zram      one image through zram on both
  zswap     the same through zswap, on zbud too
  chains    costs and memory with chains of 4 and 16 pages
  native    time of single operations at this machine's speed (User Mode Linux)
  report    measures nothing; made from what is there
  publish   the same, and updates Documentation/benchmarks

Raw results are kept in out/bench/PART.jsonl, so that parts can be repeated by
themselves. out/bench.json and the report are made from what is there; figures
of parts that were never run are absent.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import figures  # noqa: E402
from vms import OUT, ROOT, kernel_release, population, profile, run_vm, say, with_sizes  # noqa: E402

SIDES = ("ours", "c")
OBJECTS = 40_000
POPULATIONS = (5_000, 40_000, 150_000)
# Which memory of the host a VM or a process gets decides about more than a run does.
THREAD_BOOTS = 9
THREAD_RUNS = 5
NATIVE_BOOTS = 5
NATIVE_RUNS = 5
# For Python 3.11 and later.
MATPLOTLIB = "3.11.2"


def part_cost() -> list[figures.Record]:
    """Instructions of single operations."""
    steps = [
        f"{side}:{command}"
        # The first pool on a machine finds memory that nobody has used, which costs the page
        # allocator more: so filling is measured again when both have been there.
        for command in (
            f"cost {OBJECTS}",
            f"refill {OBJECTS}",
            f"aged {OBJECTS}",
            f"fragmented {OBJECTS}",
            "static 1024",
        )
        for side in SIDES
    ]
    return run_vm("cost", with_sizes(steps), icount=True)


def part_memory() -> list[figures.Record]:
    """Memory at three populations, in churn, compacted and draining."""
    steps = [step for count in POPULATIONS for side in SIDES for step in population(side, count)]
    # Caches of their own, so that what is in them can be told apart.
    return run_vm(
        "memory", with_sizes(steps), icount=False, options=("--append", "slab_nomerge"), limit=1800
    )


def part_threads() -> list[figures.Record]:
    """One and two threads, ours and C in turn, in several boots."""
    steps = [
        f"{side}:threads {threads}"
        for _ in range(THREAD_RUNS)
        for threads in (1, 2)
        for side in SIDES
    ]
    records: list[figures.Record] = []
    for _ in range(THREAD_BOOTS):
        records += run_vm("threads", with_sizes(steps), icount=False, limit=1800)
    return records


def build_c_with(chain: int) -> None:
    """Build the kernel's own zsmalloc with another length of chains.

    It is an option of the kernel's configuration; the source is the kernel's.
    """
    kernel = Path(os.environ["ZSRS_BENCH_KERNEL"])
    folder = OUT / f"build/c-chain-{chain}"
    folder.mkdir(parents=True, exist_ok=True)
    source = (kernel / "source/mm/zsmalloc.c").read_text(encoding="utf-8")
    changed = source.replace("CONFIG_ZSMALLOC_CHAIN_SIZE", str(chain))
    if changed == source:
        sys.exit("[bench] mm/zsmalloc.c of this kernel has no CONFIG_ZSMALLOC_CHAIN_SIZE")
    (folder / "zsmalloc.c").write_text(changed, encoding="utf-8")
    (folder / "Kbuild").write_text("obj-m := zsmalloc.o\n", encoding="utf-8")
    make = ["make", "-C", str(kernel), f"M={folder}", f"LLVM={os.environ['LLVM']}", "modules"]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        sys.exit(f"[bench] C zsmalloc with chains of {chain} pages does not build; see above")


def part_chains() -> list[figures.Record]:
    """The figures that depend on the length of chains, with 4 and 16 pages."""
    records: list[figures.Record] = []
    for chain in (4, 16):
        build_c_with(chain)
        steps = [f"{side}:cost {OBJECTS // 2}" for side in SIDES]
        for side in SIDES:
            steps += [f"{side}:open {OBJECTS}", f"{side}:fill {OBJECTS}"]
            steps += [f"{side}:churn {3 * OBJECTS}", f"{side}:drain {OBJECTS // 10}"]
            steps += [f"{side}:close"]
        found = run_vm(
            f"chain-{chain}",
            ["--chain", str(chain), *with_sizes(steps)],
            icount=True,
            options=("--append", "slab_nomerge"),
        )
        records += [{"chain": chain, **record} for record in found]
    return records


def pages() -> Path:
    """An image of real pages."""
    image = OUT / "bench/pages.bin"
    if not image.exists():
        say("taking pages out of the memory of programs (a minute)")
        subprocess.run(["/usr/bin/python3", ROOT / "scripts/bench_lib/pages.py", image], check=True)
    return image


def part_zswap() -> list[figures.Record]:
    """One image of real pages through zswap."""
    disk = OUT / "bench/swap.img"
    disk.unlink(missing_ok=True)
    subprocess.run(["truncate", "-s", "512M", disk], check=True)
    return run_vm(
        "zswap",
        [str(pages())],
        icount=True,
        options=("--disk", str(disk)),
        program="scripts/bench_lib/zswap.py",
    )


def part_zram() -> list[figures.Record]:
    """One image of real pages through zram."""
    return run_vm(
        "zram",
        [str(pages())],
        icount=True,
        options=("--append", "slab_nomerge"),
        program="scripts/bench_lib/zram.py",
    )


def part_atomics() -> list[figures.Record]:
    """Atomic instructions and cache misses of single operations."""
    wanted = [(side, operation) for operation in figures.PROFILED for side in SIDES]
    return [
        {
            "side": side,
            "profiled": operation,
            "atomics": seen.of_each(seen.atomics),
            "misses": seen.of_each(seen.misses),
        }
        for (side, operation), seen in zip(wanted, profile(wanted, OBJECTS // 2), strict=True)
    ]


def part_native() -> list[figures.Record]:
    """Time of single operations, ours and C in turn, in processes of this machine."""
    for command in (
        ["kernel", "build", "um"],
        ["modules", "--no-tests", "um", "ZSRS_BENCH=1"],
    ):
        if subprocess.run([ROOT / "scripts" / command[0], *command[1:]], check=False).returncode:
            sys.exit("[bench] User Mode Linux did not build; see above")
    steps = [f"{side}:cost {OBJECTS}" for _ in range(NATIVE_RUNS) for side in SIDES]
    records: list[figures.Record] = []
    for _ in range(NATIVE_BOOTS):
        records += run_vm("native", with_sizes(steps), icount=False, kernel="um")
    return records


PARTS = {
    "cost": part_cost,
    "memory": part_memory,
    "threads": part_threads,
    "atomics": part_atomics,
    "zram": part_zram,
    "zswap": part_zswap,
    "chains": part_chains,
    "native": part_native,
}


def command_output(*command: str | Path) -> str:
    """What a program prints, or nothing if it fails."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def about() -> figures.Record:
    """Where and when the figures were taken."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": command_output("git", "describe", "--always", "--dirty"),
        "kernel": kernel_release(),
        "chain": 8,
        "emulator": command_output("qemu-system-x86_64", "--version").split("\n")[0],
        "host": f"{cpu}, {os.cpu_count()} CPUs",
    }


def plotting_python() -> Path:
    """A Python with a matplotlib of our own, in the cache."""
    tool = [ROOT / "scripts/lib/pip_tool", "matplotlib", MATPLOTLIB]
    works = ["python", "-c", "import matplotlib"]
    done = subprocess.run([*tool, *works], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("[bench] there are no plots, see above; the figures are complete without them")
    return Path(done.stdout.strip()) / "python"


def draw(result: Path, folder: Path) -> None:
    """Make the report."""
    report = ROOT / "scripts/bench_lib/report.py"
    subprocess.run([plotting_python(), report, result, folder], check=True)


def run_parts(names: list[str], raw: Path) -> list[str]:
    """Run parts and keep their results; returns those that failed, whose old results stay away."""
    failed = []
    for name in names:
        results = raw / f"{name}.jsonl"
        results.unlink(missing_ok=True)
        try:
            records = PARTS[name]()
        except SystemExit as reason:
            print(reason, file=sys.stderr)
            failed.append(name)
            continue
        lines = "".join(json.dumps(record) + "\n" for record in records)
        results.write_text(lines, encoding="utf-8")
    return failed


def publish(result: figures.Record, raw: Path) -> None:
    """Put the figures and plots where they are committed."""
    folder = ROOT / "Documentation/benchmarks"
    short = {name: value for name, value in result.items() if name != "memory_steps"}
    text = json.dumps(short, indent=1) + "\n"
    (folder / "figures.json").write_text(text, encoding="utf-8")
    (folder / "figures.rst").write_text(figures.rst(result), encoding="utf-8")
    for plot in raw.glob("*.svg"):
        shutil.copy(plot, folder / plot.name)
    say("figures and plots are in Documentation/benchmarks")


def main() -> None:
    """Run the chosen parts, then write what is known."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="all if none is given")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - {*PARTS, "report", "publish"}:
        sys.exit(
            f"[bench] there is no part {' or '.join(sorted(unknown))}; parts are {', '.join(PARTS)}"
        )
    raw = OUT / "bench"
    raw.mkdir(parents=True, exist_ok=True)
    failed = run_parts([name for name in arguments.parts or PARTS if name in PARTS], raw)
    result = {"about": about(), **figures.collect(raw)}
    target = OUT / "bench.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(figures.table(result))
    draw(target, raw)
    if "publish" in arguments.parts and not failed:
        publish(result, raw)
    say(f"figures are in {target.relative_to(ROOT)}, the report in out/bench/report.html")
    if failed:
        sys.exit(f"[bench] no figures of {', '.join(failed)}: see above")


if __name__ == "__main__":
    main()
