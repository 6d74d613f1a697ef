# SPDX-License-Identifier: GPL-2.0
"""Loads a module over and over, and lets each allocation of its initialisation fail in turn.

    load_failure.py MODULE.ko NAME

The caller has set up failslab and fail_page_alloc to count only what code of modules allocates.
A load either fails with ENOMEM and leaves nothing, or succeeds without what could not be
allocated, and the module can be unloaded. Exit status 0 if that held until a load in which no
allocation failed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path

INIT_MODULE, DELETE_MODULE = 175, 176
MOST = 1000
FAIL_NTH = Path("/proc/thread-self/fail-nth")
LIBC = ctypes.CDLL(None, use_errno=True)


class Left(Exception):
    """A load went wrong, or left something."""


@dataclass
class Outcome:
    """How a load ended: refused, or else without these folders; whether an allocation failed."""

    refused: bool
    failed: bool
    without: list[str]


def load(image: bytes, nth: int) -> tuple[int, bool]:
    """Load the module; its allocation number `nth` fails. The error, and whether it came to that."""
    FAIL_NTH.write_text(str(nth), encoding="ascii")
    status = LIBC.syscall(INIT_MODULE, image, len(image), b"")
    error = ctypes.get_errno() if status else 0
    # What is left of the number: 0 once it has failed.
    failed = int(FAIL_NTH.read_text(encoding="ascii")) == 0
    FAIL_NTH.write_text("0", encoding="ascii")
    return error, failed


def folders(name: str) -> list[Path]:
    """What a module that is loaded has."""
    return [Path("/sys/module") / name, Path("/sys/kernel/debug") / name]


def leftovers(name: str) -> list[str]:
    """What there is of the module, which is not loaded."""
    found = [str(folder) for folder in folders(name) if folder.exists()]
    states = Path("/sys/devices/system/cpu/hotplug/states").read_text(encoding="ascii")
    found += [f"CPU hotplug state {line}" for line in states.splitlines() if name in line]
    return found


def load_and_unload(image: bytes, name: str, nth: int) -> Outcome:
    """One load, in which allocation number `nth` fails, and what it must leave: nothing."""
    error, failed = load(image, nth)
    if error and not (error == errno.ENOMEM and failed):
        raise Left(f"loading ended with {os.strerror(error)}")
    without = [] if error else [str(folder) for folder in folders(name) if not folder.exists()]
    if not error and LIBC.syscall(DELETE_MODULE, name.encode(), os.O_NONBLOCK):
        raise Left(f"unloading ended with {os.strerror(ctypes.get_errno())}")
    if left := leftovers(name):
        raise Left(f"{', '.join(left)} is left")
    if not failed and without:
        raise Left(f"nothing failed, and there is no {', '.join(without)}")
    return Outcome(refused=error != 0, failed=failed, without=without)


def main() -> int:
    """Run all loads."""
    image, name = Path(sys.argv[1]).read_bytes(), sys.argv[2]
    refused = did_without = 0
    for nth in range(1, MOST):
        try:
            outcome = load_and_unload(image, name, nth)
        except Left as left:
            print(f"allocation {nth}: {left}")
            return 1
        if not outcome.failed:
            print(f"{refused} loads were refused, {did_without} did without")
            return 0
        if outcome.without:
            print(f"allocation {nth} failed: loaded without {', '.join(outcome.without)}")
        refused += outcome.refused
        did_without += not outcome.refused
    print(f"more than {MOST} allocations")
    return 1


if __name__ == "__main__":
    sys.exit(main())
