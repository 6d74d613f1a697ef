# SPDX-License-Identifier: GPL-2.0
"""Compares what operations cost, and what memory a pool takes, with tests/bench/gate.json.

What is compared is instructions as a share of what the same operation costs C
zsmalloc in the same run: a kernel with another compiler or another
configuration changes both. Both directions fail: what has become faster shall
be written down, or the gain could be lost again unseen. With another compiler, or
another kernel source, than gate.json was made with, there is a wider limit to what
an operation may cost, and none to how much faster it is. Memory likewise, all of it, of
5,000 objects, where a few pages more show. What draining costs the whole machine, workers
too, hangs on when these run: it may not be more than it costs C.

All is measured after each of three boots, and the median of these is what counts: now
and then a timer or a worker falls into what is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import figures  # noqa: E402
from vms import ROOT, kernel_release, population, run_vm, with_sizes  # noqa: E402

STANDARD = ROOT / "tests/bench/gate.json"
TOLERANCE = 0.03
TOLERANCE_ELSEWHERE = 0.10
# How much memory differs between runs: when the worker runs hangs on much.
TOLERANCE_OF_MEMORY = 0.01
BOOTS = 3
# So many that draining the pool takes more than a tick of the timer: with fewer, when
# the tick falls decides whether the worker frees the emptied zspages, or free does.
OBJECTS = 16000
POPULATION = 5000
# The median where the mean hangs on what pages the allocator happened to get, or
# on when a worker ran.
OPERATIONS = {
    "malloc_fill": "median",
    "malloc_steady": "mean",
    "free": "mean",
    "free_drain": "median",
    "map_ro": "median",
    "map_rw": "median",
    "read": "median",
    "pair": "median",
    "compact_object": "mean",
    "migrate_page": "median",
    "create": "median",
    "destroy": "median",
}


# Of all that was run between the first operation and the last.
WHOLE = ("drain_elapsed",)
MEMORY = ("mem_5k_steady", "mem_5k_compacted", "mem_5k_full_compacted", "mem_5k_drained_50")


def measure_memory() -> dict[str, float]:
    """The memory for a live byte as a share of C's, in percent, after a boot."""
    commands = [f"{side}:static 1024" for side in figures.SIDES]
    for side in figures.SIDES:
        commands += population(side, POPULATION)
    records = run_vm(
        "gate-memory",
        with_sizes(commands),
        icount=True,
        options=("--append", "slab_nomerge"),
        limit=400,
    )
    pool_bytes = figures.single_figures(records)["bytes_of_empty_pool"]
    found = figures.memory_figures(figures.memory_points(records, pool_bytes))
    return {name: round(100 * found[name]["ours"] / found[name]["c"], 2) for name in MEMORY}


def measure_costs() -> dict[str, float]:
    """The ratios to C, in percent, after a boot."""
    commands = [f"{side}:cost {OBJECTS}" for side in figures.SIDES]
    records = run_vm("gate", with_sizes(commands), icount=True, limit=400)
    found, whole = figures.costs(records), figures.single_figures(records)
    missing = [name for name in OPERATIONS if len(found.get(name, {})) != 2]
    missing += [name for name in WHOLE if len(whole.get(name, {})) != 2]
    if missing:
        sys.exit(f"[gate] the benchmark has no figures of {', '.join(missing)}")
    percent = {
        name: round(100 * found[name]["ours"][which] / found[name]["c"][which], 2)
        for name, which in OPERATIONS.items()
    }
    for name in WHOLE:
        percent[name] = round(100 * whole[name]["ours"] / whole[name]["c"], 2)
    return percent


def median_of_boots(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What is measured after several boots, each figure's median."""
    boots = [measure() for _ in range(BOOTS)]
    return {name: statistics.median(boot[name] for boot in boots) for name in boots[0]}


def tools() -> str:
    """What the modules and the kernel are made with and from."""
    return f"{os.environ['TOOLCHAIN_ID']}, Linux {kernel_release()}"


def judge(name: str, now: float, standard: dict[str, float], same_tools: bool) -> str:
    """The outcome of one operation, or of the memory in one state."""
    tolerance = TOLERANCE_OF_MEMORY if name in MEMORY else TOLERANCE
    if name in WHOLE:
        return f"{'FAILED' if now > 100 else 'ok'}: it costs {now:.1f} % of C's"
    verb, better = ("takes", "smaller") if name in MEMORY else ("costs", "faster")
    if name not in standard:
        return "FAILED: it is not in tests/bench/gate.json; run 'tests/bench/gate/run --accept'"
    was = standard[name]
    if now > was * (1 + (tolerance if same_tools else TOLERANCE_ELSEWHERE)):
        return f"FAILED: it {verb} {now:.1f} % of C's, it was {was:.1f} %"
    if same_tools and now < was * (1 - tolerance):
        return (
            f"FAILED: it has become {better}, {now:.1f} % of C's after {was:.1f} %: "
            "run 'tests/bench/gate/run --accept' and commit tests/bench/gate.json"
        )
    return f"ok: {now:.1f} % of C's"


def main() -> None:
    """Compare, or accept."""
    now, here = median_of_boots(measure_costs) | median_of_boots(measure_memory), tools()
    if "--accept" in sys.argv[1:]:
        record = {"made_with": here, "percent": now}
        STANDARD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"[gate] wrote {os.path.relpath(STANDARD)}", file=sys.stderr)
        return
    record = json.loads(STANDARD.read_text(encoding="utf-8"))
    same_tools = record["made_with"] == here
    if not same_tools:
        print(
            f"[gate] gate.json was made with {record['made_with']}; here is {here}: "
            f"{TOLERANCE_ELSEWHERE:.0%} more are allowed instead of {TOLERANCE:.0%} "
            f"({TOLERANCE_OF_MEMORY:.0%} of memory)",
            file=sys.stderr,
        )
    outcomes = {name: judge(name, now[name], record["percent"], same_tools) for name in now}
    for name, outcome in outcomes.items():
        print(f"RESULT {name} {outcome}")
    sys.exit(any(outcome.startswith("FAILED") for outcome in outcomes.values()))


if __name__ == "__main__":
    main()
