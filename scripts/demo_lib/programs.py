# SPDX-License-Identifier: GPL-2.0
"""The programs of the demo and the real files they work on.

Both the host (for the results without swap) and the guest run exactly these
commands, with the same binaries and files: the guest sees the host's root.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Text for the programs to work on: C sources of the kernel, this many bytes.
CORPUS_BYTES = 24_000_000
CORPUS_FOLDERS = ("kernel", "mm", "fs", "net", "block", "lib")

# 16 MB of macros: a driver's register descriptions, compiled with -g3.
REGISTERS = "drivers/gpu/drm/amd/include/asic_reg/nbio/nbio_7_7_0_sh_mask.h"

SQL = """\
.bail on
pragma temp_store = memory;
create table line(t text);
.mode ascii
.separator "\\001" "\\n"
.import corpus.txt line
create index by_text on line(t);
.mode list
select count(*), t from line group by t having count(*) > 3 order by t;
"""

SORT_PY = """\
# Sorts the lines of a file by length, then backwards by text.
import sys

with open(sys.argv[1], "rb") as file:
    lines = file.read().split(b"\\n")
lines.sort(reverse=True)
lines.sort(key=len)
for line in lines:
    sys.stdout.buffer.write(line + b"\\n")
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
    """One program: what to run in the input folder, reading ``stdin``."""

    name: str
    title: str
    command: tuple[str, ...]
    stdin: str | None = None

    def run(self, folder: Path, wrapper: tuple[str, ...] = (), plant: bool = False) -> Outcome:
        """Runs the program to its end; ``wrapper`` comes before the command.

        ``plant`` damages one byte of what it printed, to prove that this shows.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
            "TMPDIR": "/tmp",
            "LC_ALL": "C",
        }
        with ExitStack() as files:
            stdin: int | BinaryIO = subprocess.DEVNULL
            if self.stdin:
                stdin = files.enter_context(open(folder / self.stdin, "rb"))
            complaints = files.enter_context(tempfile.TemporaryFile())
            process = files.enter_context(
                subprocess.Popen(
                    wrapper + self.command,
                    cwd=folder,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                    env=environment,
                )
            )
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


# Two lanes that run at the same time, each one program after another.
LANES: tuple[tuple[Program, ...], ...] = (
    (
        Program(
            "python", "python3 sorts 882,000 lines", ("/usr/bin/python3", "sort.py", "corpus.txt")
        ),
        Program(
            "gcc",
            "gcc -O2 -g3 compiles 16 MB of macros",
            ("/usr/bin/gcc", "-S", "-O2", "-g3", "-o", "-", "registers.c"),
        ),
    ),
    (
        Program(
            "sqlite",
            "sqlite3 indexes and counts the lines",
            ("/usr/bin/sqlite3", "-batch", ":memory:"),
            "lines.sql",
        ),
        Program(
            "sort",
            "GNU sort of the same lines",
            ("/usr/bin/sort", "-S", "200M", "--parallel=1", "corpus.txt"),
        ),
    ),
)
PROGRAMS = tuple(program for lane in LANES for program in lane)


def _sources(tree: Path) -> Iterator[Path]:
    """The C files of the kernel's core folders, in a fixed order."""
    for folder in CORPUS_FOLDERS:
        yield from sorted((tree / folder).rglob("*.[ch]"))


def prepare_inputs(tree: Path, folder: Path) -> None:
    """Writes the programs' input files into ``folder``, from the kernel's source."""
    folder.mkdir(parents=True, exist_ok=True)
    registers = tree / REGISTERS
    if not registers.is_file():
        raise InputError(f"{registers} is missing: is this a whole linux-source-6.12?")
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
    (folder / "registers.h").write_bytes(registers.read_bytes())
    (folder / "registers.c").write_text(
        '#include "registers.h"\n'
        "unsigned int first(unsigned int r) { return r & BIF_BX0_PCIE_INDEX__PCIE_INDEX_MASK; }\n"
    )
    (folder / "lines.sql").write_text(SQL)
    (folder / "sort.py").write_text(SORT_PY)
