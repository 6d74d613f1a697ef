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
from pathlib import Path

INIT_MODULE, DELETE_MODULE = 175, 176
MOST = 1000
FAIL_NTH = Path("/proc/thread-self/fail-nth")
LIBC = ctypes.CDLL(None, use_errno=True)


def load(image: bytes, nth: int) -> tuple[int, bool]:
    """Load the module; its allocation number `nth` fails. The error, and whether it came to that."""
    FAIL_NTH.write_text(str(nth), encoding="ascii")
    status = LIBC.syscall(INIT_MODULE, image, len(image), b"")
    error = ctypes.get_errno() if status else 0
    # What is left of the number: 0 once it has failed.
    failed = int(FAIL_NTH.read_text(encoding="ascii")) == 0
    FAIL_NTH.write_text("0", encoding="ascii")
    return error, failed


def leftovers(name: str) -> list[str]:
    """What there is of the module."""
    folders = [Path("/sys/module") / name, Path("/sys/kernel/debug") / name]
    found = [str(folder) for folder in folders if folder.exists()]
    states = Path("/sys/devices/system/cpu/hotplug/states").read_text(encoding="ascii")
    found += [f"CPU hotplug state {line}" for line in states.splitlines() if name in line]
    return found


def main() -> int:
    """Run all loads."""
    image, name = Path(sys.argv[1]).read_bytes(), sys.argv[2]
    refused = without = 0
    for nth in range(1, MOST):
        error, failed = load(image, nth)
        if error == 0:
            missing = {f"/sys/module/{name}", f"/sys/kernel/debug/{name}"} - set(leftovers(name))
            if LIBC.syscall(DELETE_MODULE, name.encode(), os.O_NONBLOCK):
                print(f"allocation {nth}: cannot be unloaded: {os.strerror(ctypes.get_errno())}")
                return 1
            if not failed:
                print(f"{refused} loads were refused, {without} did without")
                return int(bool(missing or leftovers(name)))
            without += 1
            if missing:
                print(f"allocation {nth} failed: loaded without {', '.join(missing)}")
        elif error == errno.ENOMEM and failed:
            refused += 1
        else:
            print(f"allocation {nth} ({failed=}): {os.strerror(error)}")
            return 1
        if left := leftovers(name):
            print(f"allocation {nth} failed: {left} is left")
            return 1
    print(f"more than {MOST} allocations")
    return 1


if __name__ == "__main__":
    sys.exit(main())
