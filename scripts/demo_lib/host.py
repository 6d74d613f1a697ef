# SPDX-License-Identifier: GPL-2.0
"""The demo's part on the host: inputs, expected results, machines, the table.

Called by ``scripts/demo`` once kernel and modules are built.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from programs import PROGRAMS, InputError, Outcome, Program, prepare_inputs

MARK = "@demo "
FRONT_ENDS = ("zswap", "zram")
PROVIDERS = ("ours", "c")
# Each run must hold as many pages at once, and swap as many out.
REQUIRED_PAGES = 20_000
FIGURES = ("stored_pages_peak", "compressed_bytes", "pool_bytes", "swap_out", "swap_in")
DISK_BYTES = 512 << 20
VM_TIMEOUT = 1200
SPLAT_STATUS = 99
TIMEOUT_STATUS = 98
# How scripts/vm begins the line for each splat.
SPLAT_REPORT = "[vm] kernel report"

Result = dict[str, Any]


class DemoError(Exception):
    """The demo cannot go on; the text says why and what to do."""


def say(text: str) -> None:
    """A line of progress."""
    print(f"[demo] {text}", file=sys.stderr, flush=True)


def expected_outcomes(folder: Path) -> dict[str, Outcome]:
    """Runs all programs on the host, without limit, two at a time."""

    def expected(program: Program) -> Outcome:
        started = time.monotonic()
        outcome = program.run(folder)
        say(f"{program.title}: {time.monotonic() - started:.1f} s")
        return outcome

    with ThreadPoolExecutor(2) as pool:
        outcomes = dict(zip((p.name for p in PROGRAMS), pool.map(expected, PROGRAMS), strict=True))
    for program in PROGRAMS:
        outcome = outcomes[program.name]
        if not outcome.worked:
            raise DemoError(
                f"{program.title}: failed on this machine already, without any pressure "
                f"(status {outcome.status}): {outcome.message or 'no output'}"
            )
    return outcomes


class Machine:
    """One virtual machine: runs both allocators under one front end."""

    def __init__(self, root: Path, kind: str, plant: str | None, only: str | None) -> None:
        self.kind = kind
        self.runs: dict[str, Result] = {}
        self.moving: dict[str, Result] = {}
        self.errors: list[str] = []
        self.log = root / "out" / "vm" / f"demo-{kind}.log"
        self._root, self._plant, self._only = root, plant, only
        self._tail: list[str] = []

    def _command(self) -> list[str]:
        out = self._root / "out" / "demo"
        disk = out / "swap.img"
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
        guest = ["/usr/bin/python3", "scripts/demo_lib/guest.py", self.kind]
        guest += ["--build", str(self._root / "out/build/normal"), "--inputs", str(out / "inputs")]
        if self._plant:
            guest += ["--plant", self._plant]
        if self._only:
            guest += ["--only", self._only]
        vm = ["scripts/vm", "--kernel", "normal", "--name", f"demo-{self.kind}"]
        vm += ["--timeout", str(VM_TIMEOUT), "--memory", "1G", "--cpus", "2"]
        return [*vm, "--disk", str(disk), "--", *guest]

    def _take(self, line: str) -> None:
        """Handles one line that the machine printed."""
        if MARK not in line:
            self._tail = [*self._tail[-19:], line.rstrip()]
            return
        try:
            message = json.loads(line.split(MARK, 1)[1])
        except ValueError:
            self.errors.append(f"a message of the guest arrived damaged: {line.strip()[:200]}")
            return
        if "progress" in message:
            say(message["progress"])
        elif "run" in message:
            run = message["run"]
            self.runs[run["key"]] = {
                **run["result"],
                "title": run["title"],
                "sources": run["sources"],
            }
            say(f"{run['title']}: done in {run['result']['seconds']} s")
        elif "moving" in message:
            moved = message["moving"]
            self.moving[moved["key"]] = moved
        elif "error" in message:
            self.errors.append(message["error"])

    def run(self) -> int:
        """Boots the machine and follows it to its end; the number of splats."""
        say(f"{self.kind}: booting a virtual machine, log in {self.log.relative_to(self._root)}")
        with subprocess.Popen(
            self._command(),
            cwd=self._root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as vm:
            assert vm.stdout is not None and vm.stderr is not None
            console: list[str] = []
            errors = vm.stderr
            reader = threading.Thread(target=lambda: console.extend(errors), daemon=True)
            reader.start()
            for line in vm.stdout:
                self._take(line)
            status = vm.wait()
            reader.join()
        if status == TIMEOUT_STATUS:
            self.errors.append(f"the machine did not end within {VM_TIMEOUT} s; see {self.log}")
        elif status not in (0, SPLAT_STATUS) and not self.errors:
            said = "\n".join([*console[-15:], *self._tail])
            self.errors.append(f"the machine ended with status {status}; it last said:\n{said}")
        if status == SPLAT_STATUS:
            sys.stderr.write("".join(console))
            return max(1, sum(line.startswith(SPLAT_REPORT) for line in console))
        return 0


def count_corrupt(expected: dict[str, Outcome], run: Result) -> tuple[int, list[str]]:
    """How many programs of a run did not end as on the host, and which."""
    complaints = []
    for program in PROGRAMS:
        got = run["programs"].get(program.name)
        want = expected[program.name]
        if got is None:
            complaints.append(f"{run['title']}: {program.title}: did not run")
        elif got["status"]:
            complaints.append(
                f"{run['title']}: {program.title}: ended with status {got['status']}: "
                f"{got['message']}"
            )
        elif (got["sha256"], got["size"]) != (want.sha256, want.size):
            complaints.append(
                f"{run['title']}: {program.title}: printed {got['size']} bytes with sum "
                f"{got['sha256'][:16]}…, without swap {want.size} bytes with {want.sha256[:16]}…"
            )
    return len(complaints), complaints


def shortfalls(run: Result) -> list[str]:
    """What a run did too little of to prove anything."""
    complaints = [
        f"{run['title']}: {what} {run[key]:,} pages, at least {REQUIRED_PAGES:,} are required"
        for key, what in (("stored_pages_peak", "held at most"), ("swap_out", "swapped out"))
        if run[key] < REQUIRED_PAGES
    ]
    if run["oom_kills"]:
        complaints.append(
            f"{run['title']}: {run['oom_kills']} programs were killed for want of memory"
        )
    return complaints


def moving_complaints(moving: dict[str, Result], only: str | None) -> list[str]:
    """What is wrong with the figures of fragmenting and compacting."""
    complaints = []
    for provider in PROVIDERS:
        if only not in (None, provider):
            continue
        if provider not in moving:
            complaints.append(f"moving, {provider}: no result")
            continue
        title, result = moving[provider]["title"], moving[provider]["result"]
        if result["corrupt"]:
            complaints.append(f"{title}: {result['corrupt']} pages damaged by compaction")
        if result["pool_pages_compacted"] >= result["pool_pages_full"]:
            complaints.append(f"{title}: no page came back, though half were freed")
    return complaints


def moving_table(moving: dict[str, Result]) -> str:
    """What fragmenting and compacting did, side by side."""
    rows = (
        ("pages stored", "stored_pages"),
        ("pool, in pages", "pool_pages_full"),
        ("… a random half freed", "pool_pages_fragmented"),
        ("… compacted", "pool_pages_compacted"),
        ("pages returned in all", "pages_returned"),
        ("pages damaged", "corrupt"),
    )
    width = 24 + 14 * len(PROVIDERS)
    lines = [f"{'zram, moved together':<24}{'zsmalloc_rs':>14}{'C zsmalloc':>14}", "-" * width]
    for label, key in rows:
        cells = (f"{moving[p]['result'][key]:,}" if p in moving else "–" for p in PROVIDERS)
        lines.append(f"{label:<24}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def megabytes(count: float) -> str:
    """Bytes in MB, for the table."""
    return f"{count / 1e6:,.1f} MB"


def table(runs: dict[str, dict[str, Result]], expected: dict[str, Outcome]) -> str:
    """The four runs side by side."""

    def intact(run: Result) -> str:
        return f"{len(PROGRAMS) - count_corrupt(expected, run)[0]} of {len(PROGRAMS)}"

    rows: list[tuple[str, Any]] = [
        ("pages held at the peak", lambda r: f"{r['stored_pages_peak']:,}"),
        ("their bytes", lambda r: megabytes(r["stored_pages_peak"] * 4096)),
        ("compressed to", lambda r: megabytes(r["compressed_bytes"])),
        ("size of the pool", lambda r: megabytes(r["pool_bytes"])),
        ("ratio, bytes / pool", lambda r: f"{r['stored_pages_peak'] * 4096 / r['pool_bytes']:.3f}"),
        ("pool / compressed", lambda r: f"{r['pool_bytes'] / r['compressed_bytes']:.4f}"),
        ("pages swapped out", lambda r: f"{r['swap_out']:,}"),
        ("pages swapped in", lambda r: f"{r['swap_in']:,}"),
        ("memory limit", lambda r: megabytes(r["memory_limit"])),
        ("time", lambda r: f"{r['seconds']:.1f} s"),
        ("results intact", intact),
    ]
    columns = [(kind, provider) for kind in FRONT_ENDS for provider in PROVIDERS]
    names = {"ours": "zsmalloc_rs", "c": "C zsmalloc"}
    lines = [
        " " * 24 + "".join(f"{kind:^28}" for kind in FRONT_ENDS),
        " " * 24 + "".join(f"{names[provider]:>14}" for _, provider in columns),
        "-" * (24 + 14 * len(columns)),
    ]
    for label, show in rows:
        cells = (
            show(runs[kind][provider]) if provider in runs[kind] else "–"
            for kind, provider in columns
        )
        lines.append(f"{label:<24}" + "".join(f"{cell:>14}" for cell in cells))
    return "\n".join(lines)


def report(
    runs: dict[str, dict[str, Result]], moving: dict[str, Result], corrupt: int, splats: int
) -> Result:
    """The content of out/demo.json."""
    content: Result = {
        kind: {
            provider: {key: runs[kind][provider][key] for key in FIGURES}
            for provider in PROVIDERS
            if provider in runs[kind]
        }
        for kind in FRONT_ENDS
    }
    content["moving"] = {provider: moved["result"] for provider, moved in moving.items()}
    content["corrupt"] = corrupt
    content["splats"] = splats
    content["sources"] = {
        kind: next(iter(runs[kind].values()))["sources"] for kind in FRONT_ENDS if runs[kind]
    }
    for moved in moving.values():
        content["sources"]["moving"] = moved["sources"]
    content["runs"] = {
        kind: {
            provider: {
                key: value for key, value in run.items() if key not in FIGURES and key != "sources"
            }
            for provider, run in runs[kind].items()
        }
        for kind in FRONT_ENDS
    }
    return content


def demo(arguments: argparse.Namespace) -> int:
    """Runs the whole demo; the exit status."""
    root: Path = arguments.root
    inputs = root / "out" / "demo" / "inputs"
    path = root / "out" / "demo.json"
    path.unlink(missing_ok=True)
    started = time.monotonic()
    tree = (arguments.kernel / "source").resolve()
    say("collecting the programs' input from the kernel's source")
    try:
        prepare_inputs(tree, inputs)
    except InputError as error:
        raise DemoError(str(error)) from error
    say("running the programs without swap, for the results to compare with")
    expected = expected_outcomes(inputs)

    runs: dict[str, dict[str, Result]] = {kind: {} for kind in FRONT_ENDS}
    moving: dict[str, Result] = {}
    complaints: list[str] = []
    corrupt = splats = 0
    for kind in FRONT_ENDS:
        machine = Machine(root, kind, arguments.plant, arguments.only)
        splats += machine.run()
        complaints += [f"{kind}: {error}" for error in machine.errors]
        runs[kind] = machine.runs
        moving |= machine.moving
        for provider in PROVIDERS:
            run = machine.runs.get(provider)
            if run is None:
                if arguments.only in (None, provider):
                    complaints.append(f"{kind}, {provider}: no result")
                continue
            damaged, what = count_corrupt(expected, run)
            corrupt += damaged
            complaints += what + shortfalls(run)

    corrupt += sum(moved["result"]["corrupt"] for moved in moving.values())
    complaints += moving_complaints(moving, arguments.only)
    path.write_text(json.dumps(report(runs, moving, corrupt, splats), indent=2) + "\n")
    print(f"\n{table(runs, expected)}\n\n{moving_table(moving)}\n")
    print(
        f"corrupt results: {corrupt}   splats in the kernel logs: {splats}   figures: out/demo.json"
    )
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    if splats:
        print("FAILED: the kernel complained; see the logs in out/vm/demo-*.log")
    failed = bool(complaints or corrupt or splats or arguments.only)
    if arguments.only:
        print("FAILED: --only leaves runs out, so this proves nothing")
    say(f"{'failed' if failed else 'passed'} after {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--root", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--kernel", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=PROVIDERS, help="run one allocator (for development)")
    parser.add_argument(
        "--plant", choices=("corrupt", "splat"), help="plant a fault, which must make the demo fail"
    )
    try:
        return demo(parser.parse_args())
    except DemoError as error:
        print(f"[demo] error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
