# SPDX-License-Identifier: GPL-2.0
"""Runs the benchmark's guest programs in VMs, with or without the profiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]

ROOT = Path(os.environ["ROOT"])
OUT = Path(os.environ["OUT"])
GUEST = "scripts/bench_lib/guest.py"
PROFILE = OUT / "bench/profile"
QEMU = "/usr/bin/qemu-system-x86_64"


def say(text: str) -> None:
    """A progress line."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


def histogram(name: str) -> list[int]:
    """The shares of a shipped size distribution."""
    path = ROOT / f"tests/bench/histograms/{name}.json"
    shares: list[int] = json.loads(path.read_text(encoding="utf-8"))["shares"]
    return shares


def run_vm(
    name: str,
    commands: list[str],
    *,
    icount: bool,
    options: tuple[str, ...] = (),
    program: str = GUEST,
    limit: int = 900,
    plugin: bool = False,
    kernel: str = "normal",
) -> list[Record]:
    """Boot a VM, run the commands in it, return the results."""
    command = [str(ROOT / "scripts/vm"), "--kernel", kernel, "--name", f"bench-{name}"]
    command += ["--timeout", str(limit), "--memory", "1G", *options]
    command += ["--icount"] if icount else ["--cpus", "2"]
    command += ["--", "/usr/bin/python3", program, *commands]
    say(f"{name}: {len(commands)} steps in a VM")
    records: list[Record] = []
    started = time.monotonic()
    environment = dict(os.environ)
    if plugin:
        environment["PATH"] = f"{build_plugin()}:{environment['PATH']}"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("RESULT "):
                records.append(json.loads(line.removeprefix("RESULT ")))
            else:
                print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
    if process.returncode != 0:
        sys.exit(
            f"[bench] {name}: the VM's exit status is {process.returncode}; see out/vm/bench-{name}.log"
        )
    say(f"{name}: {len(records)} results in {time.monotonic() - started:.0f} s")
    return records


def with_sizes(commands: list[str], mix: str = "lzo-rle") -> list[str]:
    """The guest program's arguments for a size distribution."""
    return ["--params", "sizes=" + ",".join(map(str, histogram(mix))), *commands]


def population(side: str, count: int) -> list[str]:
    """The steps of a pool that grows to so many objects, churns, drains and is compacted."""
    steps = [f"open {count}"]
    steps += [f"fill {count * tenth // 10}" for tenth in range(1, 11)]
    steps += [f"churn {count // 2}" for _ in range(6)]
    steps += [f"drain {count * left // 100}" for left in range(90, 0, -10)]
    steps += [f"fill {count}", f"churn {count}", "compact"]
    steps += [f"drain {count // 2}", "compact", "close"]
    return [f"{side}:{step}" for step in steps]


def kernel_release() -> str:
    """The version of the kernel that is measured on."""
    path = Path(os.environ["ZSRS_BENCH_KERNEL"]) / "include/config/kernel.release"
    return path.read_text(encoding="ascii").strip()


def plugin_version() -> int:
    """The version of the plugin interface that this machine's QEMU has."""
    text = subprocess.check_output([QEMU, "--version"], text=True)
    match = re.search(r"version (\d+)\.(\d+)", text)
    if not match:
        sys.exit(f"[bench] {QEMU} --version says no version: {text!r}")
    version = int(match[1]), int(match[2])
    return 1 if version < (9, 0) else 2 if version < (9, 1) else 3


def build_plugin() -> Path:
    """Compile the profiler; returns a folder with a QEMU that loads it."""
    PROFILE.mkdir(parents=True, exist_ok=True)
    for old in PROFILE.glob("counts.*"):
        old.unlink()
    library = PROFILE / "profile.so"
    source = ROOT / "tests/bench/profile/plugin.c"
    version = f"-DPLUGIN_VERSION={plugin_version()}"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", version, "-o", library, source], check=True)
    wrapper = PROFILE / "bin/qemu-system-x86_64"
    wrapper.parent.mkdir(exist_ok=True)
    # virtme-ng also asks QEMU for its version.
    wrapper.write_text(
        "#!/bin/sh\n"
        'case " $* " in\n'
        f'*" -kernel "*) exec {QEMU} "$@" -plugin {library},out={PROFILE}/counts ;;\n'
        f'*) exec {QEMU} "$@" ;;\n'
        "esac\n",
        encoding="utf-8",
    )
    wrapper.chmod(0o755)
    return wrapper.parent


class Profile:
    """What one operation ran: counts by address of an instruction."""

    def __init__(self, number: int, record: Record) -> None:
        """Read the profiler's file of this number; the record is the series' result."""
        self.times: int = record["count"]
        self.mean: float = record["sum"] / record["count"]
        self.instructions: dict[int, int] = {}
        self.atomics: dict[int, int] = {}
        self.misses: dict[int, int] = {}
        for line in (PROFILE / f"counts.{number}").read_text(encoding="ascii").splitlines():
            words = line.split()
            address, count = int(words[0], 16), int(words[1])
            for table, value in (
                (self.instructions, count),
                (self.atomics, count * int(words[2])),
                (self.misses, int(words[3])),
            ):
                table[address] = table.get(address, 0) + value

    def of_each(self, table: dict[int, int]) -> float:
        """The sum of a table for one operation."""
        return round(sum(table.values()) / self.times, 2)


def profile(wanted: list[tuple[str, str]], objects: int) -> list[Profile]:
    """Run operations, given as (side, operation), under the profiler in one VM."""
    commands = [
        f"{side}:{'aged' if 'aged' in operation else 'cost'} {objects}@{operation}"
        for side, operation in wanted
    ]
    records = run_vm(
        "profile",
        with_sizes(commands),
        icount=True,
        # On one CPU the kernel would patch its lock prefixes away.
        options=("--append", "noreplace-smp"),
        limit=2400,
        plugin=True,
    )
    # The records of each command are together, in the order of the commands.
    found: list[Profile] = []
    seen = 0
    for number, (side, operation) in enumerate(wanted, 1):
        while seen < len(records):
            record = records[seen]
            seen += 1
            if record["side"] == side and record.get("op") == operation:
                found.append(Profile(number, record))
                break
        else:
            sys.exit(
                f"[bench] there is no operation {operation!r}; see scripts/bench profile --help"
            )
        # On to the next command, which begins by calibrating.
        while seen < len(records) and records[seen].get("figure") != "overhead":
            seen += 1
    return found
