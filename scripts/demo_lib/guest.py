# SPDX-License-Identifier: GPL-2.0
"""The demo's part inside the virtual machine: one front end, both allocators.

Prints lines of JSON, each after ``MARK``: ``{"progress": …}`` while it works,
one ``{"run": …}`` per allocator, and for zram one ``{"moving": …}`` each. Runs as root with the disk to swap to as
/dev/vda; see Documentation/demo.rst for where each figure is read.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import moving
from programs import KEEPER, PROGRAMS, WORKERS, Outcome, Program

MARK = "@demo "
SAMPLE_SECONDS = 0.1
PROGRESS_SECONDS = 5
PAGE = 4096
DEBUGFS = Path("/sys/kernel/debug")
ZSWAP = Path("/sys/module/zswap/parameters")
DISK = "/dev/vda"
ZRAM = Path("/sys/block/zram0")

Sample = dict[str, int]


class GuestError(Exception):
    """Something in the guest is not as the demo needs it."""


def tell(**message: object) -> None:
    """Hands one message to the host."""
    print(MARK + json.dumps(message), flush=True)


def run(*command: str) -> str:
    """Runs a tool; a failure is an error that carries what the tool said."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise GuestError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout


def write(path: Path, text: str) -> None:
    """Writes to a kernel file, naming it if the kernel refuses."""
    try:
        path.write_text(text)
    except OSError as error:
        raise GuestError(f"writing {text!r} to {path}: {error.strerror}") from error


def keyed(path: Path) -> dict[str, int]:
    """The numbers of a "key value" file."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def kernel_module(name: str) -> str:
    """The file of one of the kernel's own modules."""
    for line in run("modprobe", "--show-depends", name).splitlines():
        match = re.match(rf"insmod (\S*/{name}\.ko\S*)", line)
        if match:
            return match[1]
    raise GuestError(f"this kernel has no module {name}")


def remove_module(name: str) -> None:
    """Unloads a module; zswap lets go of a pool some time after the switch."""
    deadline = time.monotonic() + 30
    while True:
        try:
            run("rmmod", name)
            return
        except GuestError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


class Group:
    """The memory cgroup that the programs run in."""

    def __init__(self, limit: int) -> None:
        root = self._hierarchy()
        write(root / "cgroup.subtree_control", "+memory")
        self.path = root / "demo"
        self.path.mkdir()
        write(self.path / "memory.max", str(limit))

    @staticmethod
    def _hierarchy() -> Path:
        for line in Path("/proc/mounts").read_text().splitlines():
            _, where, kind, *_ = line.split()
            if kind == "cgroup2":
                return Path(where)
        where = "/tmp/cgroup"
        Path(where).mkdir()
        run("mount", "-t", "cgroup2", "none", where)
        return Path(where)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """What to put before a command so that it runs in this group."""
        return ("/bin/sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh")

    def killed(self) -> int:
        """How many of its programs were killed for want of memory."""
        return keyed(self.path / "memory.events")["oom_kill"]

    def remove(self) -> None:
        """Ends the group; what zswap still holds of it was freed by swapoff."""
        self.path.rmdir()


class Zswap:
    """zswap on one zpool type, in front of a disk."""

    sources = {
        "stored_pages_peak": "/sys/kernel/debug/zswap/stored_pages, highest sample",
        "compressed_bytes": "memory.stat zswap of the programs' cgroup, in the same sample",
        "pool_bytes": "/sys/kernel/debug/zswap/pool_total_size, in the same sample",
        "swap_out": "memory.stat zswpout (pages) of the programs' cgroup, at the end",
        "swap_in": "memory.stat zswpin (pages) of the programs' cgroup, at the end",
    }
    # The group must hold the compressed pages too: zswap charges them to it.
    limit = 128 << 20

    def __init__(self, module: str, zpool: str) -> None:
        self.module, self.zpool = module, zpool

    def start(self) -> None:
        """Loads the allocator and makes zswap use it."""
        run("insmod", self.module)
        # Before it is enabled, zswap takes any name and looks at it later.
        write(ZSWAP / "enabled", "Y")
        write(ZSWAP / "compressor", "lzo")
        write(ZSWAP / "zpool", self.zpool)
        if (ZSWAP / "zpool").read_text().strip() != self.zpool:
            raise GuestError(f"zswap does not take the zpool {self.zpool}")
        write(ZSWAP / "max_pool_percent", "40")
        run("mkswap", DISK)
        run("swapon", DISK)
        if self._counter("pool_total_size") > 16 * PAGE:
            raise GuestError("zswap still has an older pool: its size would be counted too")

    @staticmethod
    def _counter(name: str) -> int:
        return int((DEBUGFS / "zswap" / name).read_text())

    def sample(self, group: Group) -> Sample:
        """What is held now."""
        return {
            "stored_pages_peak": self._counter("stored_pages"),
            "compressed_bytes": keyed(group.path / "memory.stat")["zswap"],
            "pool_bytes": self._counter("pool_total_size"),
        }

    def totals(self, group: Group, before: dict[str, int]) -> Sample:
        """What went out and in over the whole run, in pages."""
        stat, vmstat = keyed(group.path / "memory.stat"), keyed(Path("/proc/vmstat"))
        return {
            "swap_out": stat["zswpout"],
            "swap_in": stat["zswpin"],
            "to_disk": vmstat["pswpout"] - before["pswpout"],
        }

    def stop(self) -> None:
        """Empties and leaves the pool, unloads the allocator."""
        run("swapoff", DISK)
        write(ZSWAP / "enabled", "N")
        write(ZSWAP / "zpool", "zbud")
        remove_module(Path(self.module).stem.replace("-", "_"))


class Zram:
    """zram.ko on one provider of the zs_* functions, as the swap device."""

    sources = {
        "stored_pages_peak": "/sys/block/zram0/mm_stat orig_data_size / 4096, highest sample",
        "compressed_bytes": "/sys/block/zram0/mm_stat compr_data_size, in the same sample",
        "pool_bytes": "/sys/block/zram0/mm_stat mem_used_total, in the same sample",
        "swap_out": "/proc/vmstat pswpout (pages), end minus start",
        "swap_in": "/proc/vmstat pswpin (pages), end minus start",
    }
    limit = 84 << 20

    def __init__(self, modules: tuple[str, ...]) -> None:
        self.modules = modules + (kernel_module("zram"),)

    def load(self) -> None:
        """Loads the allocator and zram, and sets a disk up."""
        for module in self.modules:
            run("insmod", module)
        write(ZRAM / "comp_algorithm", "lzo")
        write(ZRAM / "disksize", "512M")

    def unload(self) -> None:
        """Empties zram and unloads it with its allocator."""
        write(ZRAM / "reset", "1")
        for module in reversed(self.modules):
            remove_module(Path(module).name.split(".")[0].replace("-", "_"))

    def start(self) -> None:
        """Loads all, and swaps to zram."""
        self.load()
        run("mkswap", "/dev/zram0")
        run("swapon", "/dev/zram0")

    def sample(self, group: Group) -> Sample:
        """What is held now."""
        # Reading memory.stat folds the group's statistics. Left to itself the
        # kernel does so every 2 s, decides in between by old figures that the
        # inactive list is long enough, and kills programs while swap is free
        # (zswap folds them on each store).
        (group.path / "memory.stat").read_bytes()
        original, compressed, used = (ZRAM / "mm_stat").read_text().split()[:3]
        return {
            "stored_pages_peak": int(original) // PAGE,
            "compressed_bytes": int(compressed),
            "pool_bytes": int(used),
        }

    def totals(self, group: Group, before: dict[str, int]) -> Sample:
        """What went out and in over the whole run, in pages."""
        del group
        now = keyed(Path("/proc/vmstat"))
        return {
            "swap_out": now["pswpout"] - before["pswpout"],
            "swap_in": now["pswpin"] - before["pswpin"],
        }

    def stop(self) -> None:
        """Ends swapping and unloads all."""
        run("swapoff", "/dev/zram0")
        self.unload()


class Sampler(threading.Thread):
    """Samples a front end while programs run; keeps the highest sample."""

    def __init__(self, sample: Callable[[], Sample], label: str) -> None:
        super().__init__(daemon=True)
        self.peak: Sample = {}
        self.samples = 0
        self.error: Exception | None = None
        self._sample, self._label = sample, label
        self._ended = threading.Event()

    def run(self) -> None:
        """Samples until ``end`` is called."""
        start = told = time.monotonic()
        try:
            while not self._ended.wait(SAMPLE_SECONDS):
                now = self._sample()
                self.samples += 1
                if now["stored_pages_peak"] >= self.peak.get("stored_pages_peak", 0):
                    self.peak = now
                if time.monotonic() - told >= PROGRESS_SECONDS:
                    told = time.monotonic()
                    tell(
                        progress=f"{self._label}: {told - start:.0f} s, "
                        f"{now['stored_pages_peak']:,} pages held"
                    )
        except Exception as error:  # handed to the main thread by end()
            self.error = error

    def end(self) -> Sample:
        """Stops sampling; the sample with the most pages held."""
        self._ended.set()
        self.join()
        if self.error:
            raise GuestError(f"sampling failed: {self.error}")
        if not self.peak:
            raise GuestError("the programs ended before the first sample")
        return self.peak


def run_programs(folder: Path, group: Group, plant: bool) -> dict[str, Outcome]:
    """Runs all programs in the group: the keeper waits while the others work."""
    outcomes: dict[str, Outcome] = {}
    fed, release = threading.Event(), threading.Event()

    def run_keeper() -> None:
        try:
            outcomes[KEEPER.name] = KEEPER.run(folder, group.wrapper, plant, fed, release)
        finally:
            fed.set()

    keeper = threading.Thread(target=run_keeper)
    keeper.start()
    try:
        fed.wait()
        for program in WORKERS:
            tell(progress=program.title)
            outcomes[program.name] = program.run(folder, group.wrapper)
        tell(progress=KEEPER.title)
    finally:
        release.set()
        keeper.join()
    return outcomes


def files_of(program: Program) -> list[str]:
    """The files that a program is made of: its binaries and their libraries."""
    binaries = [program.command[0]]
    if program.name == "gcc":
        binaries.append(run(program.command[0], "-print-prog-name=cc1").strip())
    libraries = [
        path for binary in binaries for path in re.findall(r"(/\S+) \(0x", run("ldd", binary))
    ]
    return binaries + libraries


def warm_up(folder: Path) -> list[mmap.mmap]:
    """Maps programs and inputs into memory outside the group, and keeps them.

    On a machine in use they would be in the page cache already; here they come
    from the host, slowly, and are not what is to be measured.
    """
    paths = {os.path.realpath(path) for program in PROGRAMS for path in files_of(program)}
    paths.update(str(path) for path in folder.iterdir())
    maps = []
    for path in sorted(paths):
        with open(path, "rb") as file:
            maps.append(
                mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED | mmap.MAP_POPULATE, mmap.PROT_READ)
            )
    return maps


def front_ends(kind: str, build: Path) -> Iterator[tuple[str, str, Zswap | Zram]]:
    """The runs of this machine: key, title, front end."""
    ours, shim = str(build / "zsmalloc-rs.ko"), str(build / "zsmalloc.ko")
    theirs = kernel_module("zsmalloc")
    if kind == "zswap":
        yield "ours", "zswap on zsmalloc_rs", Zswap(ours, "zsmalloc_rs")
        yield "c", "zswap on C zsmalloc", Zswap(theirs, "zsmalloc")
    else:
        yield "ours", "zram on zsmalloc_rs", Zram((ours, shim))
        yield "c", "zram on C zsmalloc", Zram((theirs,))


def one_run(key: str, title: str, front: Zswap | Zram, folder: Path, plant: bool) -> None:
    """Loads an allocator, runs the programs on it, unloads it, tells the result."""
    tell(progress=f"{title}: loading")
    front.start()
    group = Group(front.limit)
    before = keyed(Path("/proc/vmstat"))
    sampler = Sampler(lambda: front.sample(group), title)
    started = time.monotonic()
    sampler.start()
    outcomes = run_programs(folder, group, plant)
    seconds = time.monotonic() - started
    peak = sampler.end()
    result = {
        **peak,
        **front.totals(group, before),
        "seconds": round(seconds, 1),
        "samples": sampler.samples,
        "oom_kills": group.killed(),
        "memory_limit": front.limit,
        "programs": {name: asdict(outcome) for name, outcome in outcomes.items()},
    }
    front.stop()
    group.remove()
    tell(run={"key": key, "title": title, "sources": front.sources, "result": result})


def move(key: str, title: str, front: Zram, folder: Path, plant: bool) -> None:
    """Fragments and compacts zram's pool, tells the result."""
    tell(progress=f"{title}: fragmenting and compacting")
    front.load()
    result = moving.measure(folder, plant)
    front.unload()
    tell(moving={"key": key, "title": title, "sources": moving.SOURCES, "result": result})


def main() -> int:
    """Command line: see ``host.py``, which is the only caller."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("zswap", "zram"))
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--only", choices=("ours", "c"))
    parser.add_argument("--plant", choices=("corrupt", "splat"))
    arguments = parser.parse_args()

    try:
        if not DEBUGFS.is_mount():
            run("mount", "-t", "debugfs", "none", str(DEBUGFS))
        write(Path("/proc/sys/vm/page-cluster"), "0")
        tell(progress=f"{arguments.kind}: reading programs and files")
        maps = warm_up(arguments.inputs)
        if arguments.plant == "splat":
            write(Path("/dev/kmsg"), "WARNING: planted by scripts/demo --plant splat\n")
        for key, title, front in front_ends(arguments.kind, arguments.build):
            if arguments.only in (None, key):
                corrupt = arguments.plant == "corrupt"
                one_run(key, title, front, arguments.inputs, corrupt)
                if isinstance(front, Zram):
                    move(key, title, front, arguments.inputs, corrupt)
        del maps
    except GuestError as error:
        tell(error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
