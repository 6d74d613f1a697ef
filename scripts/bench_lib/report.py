# SPDX-License-Identifier: GPL-2.0
"""Draws the benchmark's figures: report.html with its plots inside, and the
plots as files of their own.

    report.py BENCH_JSON FOLDER

Needs matplotlib; scripts/bench keeps one in the cache.
"""

from __future__ import annotations

import html
import io
import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from figures import PAGE_SIZE, TARGETS, Record, absolute  # noqa: E402

OURS, C, FLOOR, DATA = "#b7410e", "#5b6c7d", "#2e7d32", "#bbbbbb"
COLOURS = {"ours": OURS, "c": C}
NAMES = {"ours": "zsmalloc_rs", "c": "C zsmalloc"}

# The least that an operation can cost (estimated from the work that any implementation
# with these handles has to do).
FLOORS = {
    "map_ro": 30,
    "map_rw": 30,
    "free": 90,
    "malloc_steady": 100,
    "malloc_fill": 200,
    "pair": 1000,
    "compact_object": 975,
    "migrate_page": 720,
}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
.ok { color: #2e7d32; } .missed { color: #b00020; } svg { max-width: 100%; height: auto; }
"""


def svg(figure: plt.Figure) -> str:
    """A figure as SVG text that does not change from run to run."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)


# Where the bars of an operation are.
OFFSETS = {"ours": -0.19, "c": 0.19}


def pairs_of_bars(values: dict[str, dict[str, float]]) -> tuple[plt.Figure, plt.Axes]:
    """A bar for each side of each operation."""
    figure, axes = plt.subplots(figsize=(9, 0.5 * len(values) + 1))
    for position, sides in enumerate(values.values()):
        for side, offset in OFFSETS.items():
            axes.barh(position + offset, sides[side], 0.36, color=COLOURS[side])
            axes.text(sides[side], position + offset, f" {sides[side]:.0f}", va="center", size=8)
    axes.set_yticks(range(len(values)), values)
    axes.invert_yaxis()
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[side]) for side in NAMES]
    axes.legend(handles, list(NAMES.values()), loc="lower right")
    return figure, axes


def plot_costs(result: Record) -> plt.Figure | None:
    """Mean instructions of every operation, both sides, with the floor."""
    costs = result["instructions"]
    names = [name for name in costs if name not in ("create", "destroy") and len(costs[name]) == 2]
    if not names:
        return None
    means = {name: {side: costs[name][side]["mean"] for side in NAMES} for name in names}
    figure, axes = pairs_of_bars(means)
    for position, name in enumerate(names):
        for side, offset in OFFSETS.items():
            if "median" in costs[name][side]:
                median = costs[name][side]["median"]
                axes.plot(median, position + offset, "|", color="black", ms=9)
        if name in FLOORS:
            axes.plot([FLOORS[name]] * 2, [position - 0.42, position + 0.42], color=FLOOR, lw=2)
    axes.set_xlabel("instructions: bar mean, tick median; green: floor")
    return figure


def plot_native(result: Record) -> plt.Figure | None:
    """Time of every operation at the machine's own speed, both sides."""
    names = [name for name in result["native"] if not name.endswith(("create", "destroy"))]
    if not names:
        return None
    figure, axes = pairs_of_bars(
        {name.removeprefix("native_"): result["native"][name] for name in names}
    )
    axes.set_xlabel("ns in User Mode Linux, on one CPU, where C's locks cost nothing")
    return figure


def plot_ratios(result: Record) -> plt.Figure | None:
    """Every ratio that has a target, beside it."""
    names = [name for name in TARGETS if name in result["ratio"]]
    if not names:
        return None
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(names) + 1))
    for position, name in enumerate(names):
        value = result["ratio"][name]
        met = value <= TARGETS[name]
        axes.barh(position, value, 0.6, color=OURS if not met else FLOOR)
        axes.plot([TARGETS[name]] * 2, [position - 0.42, position + 0.42], color="black", lw=2)
        axes.text(value, position, f" {value:.2f}", va="center", size=8)
    axes.axvline(1, color=C, ls="--", lw=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("ours / C; black: target; green bars meet it; dashed: as C")
    return figure


def plot_memory(result: Record) -> plt.Figure | None:
    """All memory over fill, churn, drain, refill, compaction, half freed and compaction."""
    populations = {name: sides for name, sides in result["memory_steps"].items() if len(sides) == 2}
    if not populations:
        return None
    figure, panels = plt.subplots(1, len(populations), figsize=(13, 4.2))
    for axes, (population, sides) in zip(
        list(panels) if len(populations) > 1 else [panels], populations.items(), strict=True
    ):
        # What churn leaves at once differs from what it leaves a moment later by too little to see.
        settled = {
            side: [point for point in points if point["step"] != "churning"]
            for side, points in sides.items()
        }
        steps = settled["ours"]
        live = [point["live_bytes"] / 1e6 for point in steps]
        axes.fill_between(range(len(live)), live, color=DATA, label="live data", lw=0)
        for side in NAMES:
            whole = [point["whole"] / 1e6 for point in settled[side]]
            axes.plot(
                whole,
                color=COLOURS[side],
                label=NAMES[side],
                lw=1.8,
                ls="-" if side == "ours" else "--",
            )
        first = 0
        for index in range(1, len(steps) + 1):
            if index == len(steps) or steps[index]["step"] != steps[first]["step"]:
                axes.axvline(index - 0.5, color="#dddddd", lw=0.8)
                if index - first > 2:
                    middle = (first + index - 1) / 2
                    label = steps[first]["step"]
                    axes.text(
                        middle,
                        1.01,
                        label,
                        ha="center",
                        size=8,
                        transform=axes.get_xaxis_transform(),
                    )
                first = index
        axes.set_title(f"{int(population):,} objects", pad=22)
        axes.set_xticks([])
        axes.set_ylim(0)
        axes.set_ylabel("MB, everything counted")
        axes.set_xlabel("at the end: filled again, churned, compacted;\nhalf freed, compacted")
    figure.axes[0].legend(loc="lower center", fontsize=8)
    figure.tight_layout()
    return figure


def plot_threads(result: Record) -> plt.Figure | None:
    """What a step costs with one and with more threads."""
    entries = result["nanoseconds"]
    operations = sorted({name.split("_", 1)[1] for name in entries})
    if not operations:
        return None
    figure, panels = plt.subplots(1, len(operations), figsize=(11, 3.4))
    for axes, operation in zip(
        panels if len(operations) > 1 else [panels], operations, strict=True
    ):
        counts = sorted(
            int(name[1:].split("_")[0])
            for name in entries
            if name.endswith(f"_{operation}") and name.split("_", 1)[1] == operation
        )
        for side in NAMES:
            values = [entries[f"t{count}_{operation}"][side] for count in counts]
            axes.plot(counts, values, "o-", color=COLOURS[side], label=NAMES[side])
        axes.set_title(operation)
        axes.set_xticks(counts)
        axes.set_xlabel("threads")
        axes.set_ylim(0)
    panels[0].set_ylabel("ns per step (emulated CPUs)")
    panels[0].legend()
    figure.tight_layout()
    return figure


def plot_density(result: Record) -> plt.Figure | None:
    """How full the pages of each size class are in steady churn."""
    populations = {name: sides for name, sides in result["memory_steps"].items() if len(sides) == 2}
    if not populations:
        return None
    figure, panels = plt.subplots(1, len(populations), figsize=(13, 3.6), sharey=True)
    for axes, (population, sides) in zip(
        panels if len(populations) > 1 else [panels], populations.items(), strict=True
    ):
        for side, marker in (("c", "o"), ("ours", ".")):
            drain = next(i for i, point in enumerate(sides[side]) if point["step"] == "drain")
            classes = sides[side][drain - 1]["classes"]
            xs = [entry[0] for entry in classes]
            ys = [
                100 * entry[0] * entry[2] / (entry[3] * PAGE_SIZE) for entry in classes if entry[3]
            ]
            axes.plot(
                xs[: len(ys)],
                ys,
                marker,
                color=COLOURS[side],
                label=NAMES[side],
                ms=5 if marker == "o" else 7,
                mfc="none" if marker == "o" else None,
            )
        axes.set_title(f"{int(population):,} objects")
        axes.set_xlabel("class size in bytes")
        axes.set_ylim(0, 103)
    panels[0].set_ylabel("% of the class's pages in use")
    panels[0].legend(loc="lower right")
    figure.tight_layout()
    return figure


PLOTS = {
    "ratios": ("Against C and the targets", plot_ratios),
    "costs": ("Instructions of an operation", plot_costs),
    "native": ("Time of an operation on this machine", plot_native),
    "memory": ("Memory against live data", plot_memory),
    "density": ("Density by size class, in steady churn", plot_density),
    "threads": ("One and two threads on one pool", plot_threads),
}


def table(result: Record) -> str:
    """All ratios, as HTML."""
    rows = ["<table><tr><th></th><th>zsmalloc_rs</th><th>C</th><th>ratio</th><th>target</th></tr>"]
    for name, value in result["ratio"].items():
        target = TARGETS.get(name)
        kind = "" if target is None else "ok" if value <= target else "missed"
        cells = [absolute(result, name, "ours"), absolute(result, name, "c"), f"{value:.3f}"]
        cells.append("" if target is None else f"≤ {target}")
        marked = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr class="{kind}"><td>{name}</td>{marked}</tr>')
    return "\n".join([*rows, "</table>"])


def main() -> None:
    """Write the report and its plots."""
    result = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update(
        {
            "svg.hashsalt": "zsmalloc_rs",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    about = result.get("about", {})
    parts = [
        "<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>zsmalloc_rs beside C zsmalloc</title>",
        f"<style>{STYLE}</style><h1>zsmalloc_rs beside C zsmalloc</h1>",
        "<p>"
        + html.escape("; ".join(f"{name}: {value}" for name, value in about.items()))
        + "</p>",
        "<p>Costs are instructions of the guest under QEMU's -icount, mean (median). Memory is "
        "bytes per live byte, with pages, slabs, handles, per-CPU buffers and the pool itself. "
        "Ratios are ours / C: less than 1 is better than C.</p>",
        table(result),
    ]
    for name, (title, plot) in PLOTS.items():
        figure = plot(result)
        if figure is None:
            continue
        text = svg(figure)
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
        parts.append(f"<h2>{title}</h2>\n{text}")
    (folder / "report.html").write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
