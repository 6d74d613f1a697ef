# SPDX-License-Identifier: GPL-2.0
"""The programs of the demo and the real files they work on.

Both the host (for the results without swap) and the guest run exactly these
commands, with the same binaries and files: the guest sees the host's root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Text for the programs to work on: C sources of the kernel. All of it goes to
# the program that keeps its data, the first part to the others.
CORPUS_BYTES = 36_000_000
PART_BYTES = 24_000_000
CORPUS_FOLDERS = ("kernel", "mm", "fs", "net", "block", "lib", "sound", "crypto")

# 24 MB of macros: a driver's register descriptions, compiled with -g3.
REGISTERS_FOLDER = "drivers/gpu/drm/amd/include/asic_reg"
REGISTERS = ("nbio/nbio_7_7_0_sh_mask.h", "dcn/dcn_3_0_0_sh_mask.h")

SQL = """\
.bail on
pragma temp_store = memory;
create table line(t text);
.mode ascii
.separator "\\001" "\\n"
.import part.txt line
.mode list
create index by_length on line(length(t));
select length(t), count(*) from line group by length(t);
select rowid, t from line where t like '%alloc%';
"""

SORT_PY = """\
# Reads lines until there are no more, then prints them sorted.
import sys

lines = list(sys.stdin.buffer)
lines.sort()
sys.stdout.buffer.writelines(lines)
"""


class InputError(Exception):
    """A file that the demo's programs need is not there."""


@dataclass(frozen=True)
class Outcome:
    """What a program left: its exit status, its output's sum and size."""

    status: int
    sha256: str
    size: int
    message: str

    @property
    def worked(self) -> bool:
        """Whether the program ended well and printed something."""
        return self.status == 0 and self.size > 0


@dataclass(frozen=True)
class Program:
    """One program: what to run in the input folder, and what it reads.

    ``stdin`` is fed through a pipe if ``keeps`` is set: such a program reads its
    input, keeps it in memory and does its work when the input ends.
    """

    name: str
    title: str
    command: tuple[str, ...]
    stdin: str | None = None
    keeps: bool = False

    def run(
        self,
        folder: Path,
        wrapper: tuple[str, ...] = (),
        plant: bool = False,
        fed: threading.Event | None = None,
        release: threading.Event | None = None,
    ) -> Outcome:
        """Runs the program to its end; ``wrapper`` comes before the command.

        ``plant`` damages one byte of what it printed, to prove that this shows.
        For a program that keeps its data, ``fed`` is set once it has all input,
        and the input ends when ``release`` is set.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "LC_ALL": "C",
        }
        with ExitStack() as files:
            source: BinaryIO | None = None
            if self.stdin:
                source = files.enter_context(open(folder / self.stdin, "rb"))
            complaints = files.enter_context(tempfile.TemporaryFile())
            process = files.enter_context(
                subprocess.Popen(
                    wrapper + self.command,
                    cwd=folder,
                    stdin=subprocess.PIPE if self.keeps else source or subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    env=environment,
                )
            )
            if self.keeps:
                assert source is not None
                feeder = threading.Thread(target=_feed, args=(process, source, fed, release))
                feeder.start()
                files.callback(feeder.join)
            digest, size = hashlib.sha256(), 0
            assert process.stdout is not None
            while block := process.stdout.read(1 << 20):
                if plant and size == 0:
                    block = bytes([block[0] ^ 1]) + block[1:]
                digest.update(block)
                size += len(block)
            status = process.wait()
            complaints.seek(0)
            message = complaints.read().decode(errors="replace").strip()
        return Outcome(status, digest.hexdigest(), size, message[-400:])


def _feed(
    process: subprocess.Popen[bytes],
    source: BinaryIO,
    fed: threading.Event | None,
    release: threading.Event | None,
) -> None:
    """Gives a program its input, and the end of it when it is released."""
    assert process.stdin is not None
    try:
        shutil.copyfileobj(source, process.stdin, 1 << 16)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it died: its exit status says so
    if fed:
        fed.set()
    if release:
        release.wait()
    try:
        process.stdin.close()
    except BrokenPipeError:
        pass


# Keeps its data in memory while the others work, then works on all of it.
KEEPER = Program(
    "python",
    "python3 keeps 36 MB of lines, then sorts them",
    ("/usr/bin/python3", "sort.py"),
    "corpus.txt",
    keeps=True,
)
# Run one after the other while the first one waits.
WORKERS = (
    Program(
        "gcc",
        "gcc -O2 -g3 compiles 24 MB of macros",
        ("/usr/bin/gcc", "-S", "-O2", "-g3", "-w", "-o", "-", "registers.c"),
    ),
    Program(
        "sqlite",
        "sqlite3 loads 24 MB of lines, indexes and queries them",
        ("/usr/bin/sqlite3", "-batch", ":memory:"),
        "lines.sql",
    ),
    Program(
        "sort",
        "GNU sort sorts 24 MB of lines",
        ("/usr/bin/sort", "-S", "200M", "--parallel=1", "part.txt"),
    ),
)
PROGRAMS = (KEEPER, *WORKERS)


def _sources(tree: Path) -> Iterator[Path]:
    """The C files of the kernel's core folders, in a fixed order."""
    for folder in CORPUS_FOLDERS:
        yield from sorted((tree / folder).rglob("*.[ch]"))


def prepare_inputs(tree: Path, folder: Path) -> None:
    """Writes the programs' input files into ``folder``, from the kernel's source."""
    folder.mkdir(parents=True, exist_ok=True)
    registers = b""
    for name in REGISTERS:
        header = tree / REGISTERS_FOLDER / name
        if not header.is_file():
            raise InputError(f"{header} is missing: is this a whole linux-source-6.12?")
        registers += header.read_bytes()
    written = 0
    with open(folder / "corpus.txt", "wb") as corpus:
        for path in _sources(tree):
            written += corpus.write(path.read_bytes()[: CORPUS_BYTES - written])
            if written >= CORPUS_BYTES:
                break
    if written < CORPUS_BYTES:
        raise InputError(
            f"only {written} of {CORPUS_BYTES} bytes of C sources were found in {tree}"
        )
    with open(folder / "corpus.txt", "rb") as corpus:
        (folder / "part.txt").write_bytes(corpus.read(PART_BYTES))
    (folder / "registers.h").write_bytes(registers)
    (folder / "registers.c").write_text(
        '#include "registers.h"\n'
        "unsigned int first(unsigned int r) { return r & BIF_BX0_PCIE_INDEX__PCIE_INDEX_MASK; }\n"
    )
    (folder / "lines.sql").write_text(SQL)
    (folder / "sort.py").write_text(SORT_PY)
