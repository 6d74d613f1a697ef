# SPDX-License-Identifier: GPL-2.0
"""Turns the raw results of the benchmark into figures and ratios (ours / C)."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

Record = dict[str, Any]
PAGE_SIZE = 4096
SIDES = ("ours", "c")

# Operations with one figure: key of the ratio, name of the series, and whether
# the mean or the median stands for it. Creation has outliers of millions of
# instructions in C (it waits for RCU and workers), so the median.
OPERATIONS = {
    "map_ro": "mean",
    "map_rw": "mean",
    "map_wo": "mean",
    "map_refilled_ro": "mean",
    "map_refilled_rw": "mean",
    "map_aged_ro": "mean",
    "map_aged_rw": "mean",
    "map_fragmented_ro": "mean",
    "map_fragmented_rw": "mean",
    "read": "mean",
    "free": "mean",
    "free_drain": "mean",
    "malloc_steady": "mean",
    "malloc_fill": "mean",
    "pair": "mean",
    "compact_object": "mean",
    "compact_refilled": "mean",
    "migrate_page": "mean",
    "migrate_refilled": "mean",
    "create": "median",
    "destroy": "median",
}

# Of the slices of a run with threads: the quickest tenth (tests/bench/threads.h).
QUANTILE = 2

# Operations whose atomic instructions and cache misses are counted.
PROFILED = ("map_ro", "free", "malloc_steady", "malloc_fill")

# What each CPU costs while the module is loaded, whatever the pools hold: the
# buffer of a page, and with ours two magazines of 64 and some counters
# (rust/object/magazine.rs, bounce.rs; rust/pool/shared.rs). C: mm/zsmalloc.c,
# struct mapping_area.
CPUS = 2
BYTES_PER_CPU = {"ours": PAGE_SIZE + 2 * 65 * 8 + 64, "c": PAGE_SIZE + 24}


def read(raw: Path, part: str) -> list[Record]:
    """The results of a part; none if it was not run."""
    path = raw / f"{part}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def costs(records: list[Record]) -> dict[str, Record]:
    """Of each operation the mean and quantiles of both sides."""
    found: dict[str, Record] = {}
    for record in records:
        if record.get("op") in OPERATIONS and record["count"] and "threads" not in record:
            entry: Record = {
                "mean": round(record["sum"] / record["count"], 1),
                "count": record["count"],
            }
            if quantiles := record.get("quantiles"):
                names = ("min", "p10", "p25", "median", "p75", "p90", "p99", "max")
                entry.update(zip(names, quantiles, strict=True))
            found.setdefault(record["op"], {})[record["side"]] = entry
    return found


def ratio(entry: Record, which: str) -> float | None:
    """Ours divided by C's."""
    if not all(side in entry and which in entry[side] for side in SIDES):
        return None
    return round(entry["ours"][which] / entry["c"][which], 4)


def cost_ratios(found: dict[str, Record]) -> dict[str, float]:
    """The ratios of all operations, and of what is put together from several."""
    ratios: dict[str, float] = {}
    for name, which in OPERATIONS.items():
        if name in found and (value := ratio(found[name], which)) is not None:
            ratios[name] = value
        if name in found and name.startswith("map") and (value := ratio(found[name], "median")):
            ratios[f"{name}_median"] = value
    # A history of frees and allocations, by whatever way the pages came back.
    aged = [
        value for name, value in ratios.items() if re.fullmatch("map_(aged|refilled)_r[ow]", name)
    ]
    if len(aged) == 4:
        ratios["map_aged"] = max(aged)
    if "create" in found and "destroy" in found:
        sums = [
            sum(found[name][side]["median"] for name in ("create", "destroy")) for side in SIDES
        ]
        ratios["create_destroy"] = round(sums[0] / sums[1], 4)
    return ratios


def single_figures(records: list[Record]) -> dict[str, Record]:
    """Figures that are no series, by name and side."""
    found: dict[str, Record] = {}
    for record in records:
        if "figure" in record:
            value = record["value"]
            if "of" in record:
                value = round(value / record["of"], 4) if record["of"] else 0
            found.setdefault(record["figure"], {})[record["side"]] = value
    return found


def whole_memory(record: Record, pool_bytes: Record) -> int:
    """All memory behind a pool, in bytes."""
    side = record["side"]
    own = record["pages"] * PAGE_SIZE + record["handles"] + record["zspages"]
    return own + pool_bytes.get(side, 0) + CPUS * BYTES_PER_CPU[side]


def memory_points(records: list[Record], pool_bytes: Record) -> dict[str, dict[str, list[Record]]]:
    """By population and side: the memory after each step."""
    points: dict[str, dict[str, list[Record]]] = {}
    population: dict[str, int] = {}
    runs: dict[str, list[Record]] = {side: [] for side in SIDES}
    for record in records:
        if "memory" not in record:
            continue
        side = record["side"]
        steps = runs[side]
        # A population begins with its first tenth.
        if record["memory"] == "fill" and (not steps or steps[-1]["step"] == "compact"):
            steps = runs[side] = []
            population[side] = record["objects"] * 10
        whole = whole_memory(record, pool_bytes)
        steps.append(
            {
                "step": record["memory"],
                "objects": record["objects"],
                "live_bytes": record["live_bytes"],
                "pages": record["pages"],
                "handles": record["handles"],
                "zspages": record["zspages"],
                "whole": whole,
                "per_byte": round(whole / record["live_bytes"], 4)
                if record["live_bytes"]
                else None,
                "classes": record.get("classes", []),
            }
        )
        points.setdefault(str(population[side]), {})[side] = steps
    return points


def pick(steps: list[Record], step: str, objects: int | None = None) -> float | None:
    """Memory per live byte after the last step of this kind (with this many objects)."""
    found = [
        point["per_byte"]
        for point in steps
        if point["step"] == step and (objects is None or point["objects"] == objects)
    ]
    return found[-1] if found else None


def memory_figures(points: dict[str, dict[str, list[Record]]]) -> dict[str, Record]:
    """Memory per live byte in the states that have a target."""
    found: dict[str, Record] = {}
    for population, sides in points.items():
        count = int(population)
        short = f"{count // 1000}k"
        for side, steps in sides.items():
            values = {
                f"mem_{short}_compacted": pick(steps, "compact", count // 2),
                f"mem_{short}_full_compacted": pick(steps, "compact", count),
            }
            # The churn before the drain, not the one after it.
            drain = next((i for i, p in enumerate(steps) if p["step"] == "drain"), len(steps))
            values[f"mem_{short}_steady"] = pick(steps[:drain], "churn")
            values[f"mem_{short}_churning"] = pick(steps[:drain], "churning")
            for gone in (50, 80, 90):
                left = count * (100 - gone) // 100
                values[f"mem_{short}_drained_{gone}"] = pick(steps, "drain", left)
            for name, value in values.items():
                if value is not None:
                    found.setdefault(name, {})[side] = value
    return found


def thread_figures(records: list[Record]) -> dict[str, Record]:
    """Nanoseconds of a step, all runs; and the ratios run by run."""
    runs: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if "threads" in record:
            name = f"t{record['threads']}_{record['op']}"
            runs.setdefault(name, {}).setdefault(record["side"], []).append(
                record["picoseconds"][QUANTILE] / 1000
            )
    return medians(runs)


def native_figures(records: list[Record]) -> dict[str, Record]:
    """Nanoseconds of one operation in User Mode Linux, all runs; and the ratios run by run."""
    runs: dict[str, dict[str, list[float]]] = {}
    ticks = 0
    for record in records:
        if record.get("figure") == "ticks_per_microsecond":
            ticks = record["value"]
        if record.get("op") in OPERATIONS and record["count"]:
            value = record["sum"] / record["count"]
            if OPERATIONS[record["op"]] == "median":
                value = record["quantiles"][3]
            sides = runs.setdefault(f"native_{record['op']}", {})
            sides.setdefault(record["side"], []).append(value * 1000 / ticks)
    return medians(runs)


def medians(runs: dict[str, dict[str, list[float]]]) -> dict[str, Record]:
    """Of figures that were taken several times, ours and C's in turn."""
    found: dict[str, Record] = {}
    for name, sides in runs.items():
        if set(sides) != set(SIDES):
            continue
        ratios = [ours / c for ours, c in zip(sides["ours"], sides["c"], strict=False)]
        found[name] = {
            "ours": round(statistics.median(sides["ours"]), 1),
            "c": round(statistics.median(sides["c"]), 1),
            "runs": len(ratios),
            "ratio": round(statistics.median(ratios), 4),
            "ratio_min": round(min(ratios), 4),
            "ratio_max": round(max(ratios), 4),
        }
    return found


def profile_figures(records: list[Record]) -> dict[str, Record]:
    """Atomic instructions, and misses of a cache of 1 MiB, for one operation."""
    found: dict[str, Record] = {}
    for record in records:
        for what in ("atomics", "misses"):
            name = f"{what}_{record['profiled']}"
            found.setdefault(name, {})[record["side"]] = record[what]
    return found


def zram_figures(records: list[Record], pool_bytes: Record) -> dict[str, Record]:
    """Instructions for a page, and all memory per compressed byte."""
    found: dict[str, Record] = {}
    for record in records:
        if "zram" not in record:
            continue
        side, step = record["side"], record["zram"]
        if record["instructions"]:
            found.setdefault(f"zram_{step}", {})[side] = record["instructions"]
        whole = whole_memory(record, pool_bytes) / record["compressed"]
        # The last word is what was written over once: neither fresh nor compacted.
        if step == "overwrite":
            found.setdefault("zram_mem_per_byte", {})[side] = round(whole, 4)
        found.setdefault(f"zram_mem_after_{step}", {})[side] = round(whole, 4)
    return found


def zswap_figures(records: list[Record]) -> dict[str, Record]:
    """Instructions for a page, and bytes of the pool for a stored page; also of ours beside zbud's."""
    found: dict[str, Record] = {}
    for record in records:
        side, step = record["side"], record["zswap"]
        values = {f"zswap_{step}": record["instructions"]}
        if step.startswith("out"):
            values[f"zswap_pool_after_{step}"] = round(record["pool_bytes"] / record["stored"])
        for name, value in values.items():
            if side in SIDES:
                found.setdefault(name, {})[side] = value
            if side != "c":
                beside = "c" if side == "zbud" else side
                found.setdefault(f"{name}_zbud", {})[beside] = value
    return found


def chain_figures(records: list[Record], pool_bytes: Record) -> dict[str, Record]:
    """Costs, and memory per live byte, with other lengths of chains."""
    found: dict[str, Record] = {}
    for chain in sorted({record["chain"] for record in records}):
        some = [record for record in records if record["chain"] == chain]
        for name, entry in costs(some).items():
            if OPERATIONS[name] == "mean":
                values = {side: entry[side]["mean"] for side in entry}
                found[f"chain{chain}_{name}"] = values
        for record in some:
            if record.get("memory") in ("churn", "drain"):
                state = "steady" if record["memory"] == "churn" else "drained_90"
                whole = whole_memory(record, pool_bytes) / record["live_bytes"]
                entry = found.setdefault(f"chain{chain}_mem_{state}", {})
                entry[record["side"]] = round(whole, 4)
    return found


def collect(raw: Path) -> Record:
    """All figures that there are raw results for."""
    cost_records = read(raw, "cost")
    found = costs(cost_records)
    singles = single_figures(cost_records)
    points = memory_points(read(raw, "memory"), singles.get("bytes_of_empty_pool", {}))
    memory = memory_figures(points)
    threads = thread_figures(read(raw, "threads"))
    native = native_figures(read(raw, "native"))
    zram = zram_figures(read(raw, "zram"), singles.get("bytes_of_empty_pool", {}))
    zswap = zswap_figures(read(raw, "zswap"))
    ratios: dict[str, float] = cost_ratios(found)
    profiled = profile_figures(read(raw, "atomics"))
    chains = chain_figures(read(raw, "chains"), singles.get("bytes_of_empty_pool", {}))
    for name, sides in (memory | zram | zswap | profiled | chains).items():
        if set(sides) == set(SIDES) and sides["c"]:
            ratios[name] = round(sides["ours"] / sides["c"], 4)
    # All that was run from the first free to the last, by workers too.
    for name in ("churn_elapsed", "drain_elapsed"):
        if set(singles.get(name, {})) == set(SIDES):
            ratios[name] = round(singles[name]["ours"] / singles[name]["c"], 4)
    if "mem_5k_drained_90" in ratios:
        ratios["mem_drained_90"] = max(
            value
            for name, value in ratios.items()
            if name.startswith("mem_") and name.endswith("drained_90")
        )
    for name, entry in threads.items():
        if name.startswith("t2"):
            ratios[name] = entry["ratio"]
    ratios |= {name: entry["ratio"] for name, entry in native.items()}
    return {
        "ratio": ratios,
        "instructions": found,
        "figures": singles,
        "memory_per_live_byte": memory,
        "nanoseconds": threads,
        "native": native,
        "zram": zram,
        "zswap": zswap,
        "profiled": profiled,
        "chains": chains,
        "memory_steps": points,
    }


# Targets: Documentation/benchmarks.
TARGETS = {
    "map_ro": 0.20,
    "map_rw": 0.15,
    "map_ro_median": 0.30,
    "map_aged": 0.70,
    "free": 0.5,
    "free_drain": 0.65,
    "malloc_steady": 0.65,
    "malloc_fill": 0.7,
    "pair": 0.75,
    "compact_object": 0.75,
    "migrate_page": 0.95,
    "create_destroy": 0.3,
    "t2_map": 0.14,
    "t2_churn": 0.6,
    "t2_alloc_free": 0.7,
    "mem_5k_steady": 0.85,
    "mem_5k_compacted": 0.85,
    "mem_5k_full_compacted": 0.85,
    "mem_150k_steady": 1.0,
    "mem_drained_90": 0.5,
    "zram_mem_per_byte": 0.98,
}


def absolute(result: Record, name: str, side: str) -> str:
    """A figure of one side, as it stands in the table."""
    if entry := result["instructions"].get(name):
        return f"{entry[side]['mean']:.0f}" + (
            f" ({entry[side]['median']})" if "median" in entry[side] else ""
        )
    if entry := result["memory_per_live_byte"].get(name):
        return f"{entry[side]:.3f}"
    if name.endswith("_elapsed"):
        return f"{result['figures'][name][side] / 1e6:.1f} M"
    if entry := result["profiled"].get(name):
        return f"{entry[side]:.2f}"
    if entry := result["chains"].get(name):
        return f"{entry[side]:.3f}" if "mem" in name else f"{entry[side]:.0f}"
    if entry := result["zram"].get(name):
        return f"{entry[side]:.3f}" if "mem" in name else f"{entry[side]}"
    if entry := result["zswap"].get(name):
        return f"{entry[side]}"
    if entry := (result["nanoseconds"] | result["native"]).get(name):
        return f"{entry[side]:.0f} ns"
    return ""


def table(result: Record) -> str:
    """All ratios with their targets, for a terminal."""
    lines = [f"{'':24} {'ours':>18} {'C':>18} {'ratio':>7} {'target':>7}"]
    for name, value in result["ratio"].items():
        target = TARGETS.get(name)
        state = "" if target is None else "ok" if value <= target else "MISSED"
        lines.append(
            f"{name:24} {absolute(result, name, 'ours'):>18} {absolute(result, name, 'c'):>18}"
            f" {value:7.3f} {target if target is not None else '':>7} {state}"
        )
    return "\n".join(lines)


def rst(result: Record) -> str:
    """The table as a page of the documentation."""
    lines = [
        ".. SPDX-License-Identifier: GPL-2.0",
        ".. Written by scripts/bench publish.",
        "",
        "=======",
        "Figures",
        "=======",
        "",
        *(f":{name}: {value}" for name, value in result["about"].items()),
        "",
        "Ratios are ours / C: below 1 is better than C. README.rst says what the names mean.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "",
        "   * - figure",
        "     - ours",
        "     - C",
        "     - ratio",
        "     - target",
        "     -",
    ]
    for name, value in result["ratio"].items():
        target = TARGETS.get(name)
        cells = [name, absolute(result, name, "ours"), absolute(result, name, "c"), f"{value:.3f}"]
        cells.append("" if target is None else str(target))
        cells.append("" if target is None else "met" if value <= target else "**missed**")
        lines += [f"   {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(cells)]
    for name in ("ratios", "costs", "native", "memory", "density", "threads"):
        lines += ["", f".. image:: {name}.svg"]
    return "\n".join(lines) + "\n"
