# SPDX-License-Identifier: GPL-2.0
"""Finds the reports of trouble ("splats") in a kernel log.

Usable as a program too: ``splats.py LOG [ALLOWED_REGEX...]``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

# The line with which each kind of report begins.
HEADS = re.compile(
    r"""
      \bBUG:\s | \bWARNING:\s | kernel\ BUG\ at | \bOops\b | \bUBSAN:
    | general\ protection\ fault | double\ fault | unable\ to\ handle | stack\ segment:
    | \bINFO:\ task\ .*\ blocked\ for\ more\ than | \bINFO:\ (?:rcu_\w+\ )?.*(?:detected|self-detected)\ (?:expedited\ )?stalls?
    | rcu:\ .*stall | rcu.*kthread\ (?:timer\ wakeup|starved) | workqueue\ lockup | soft\ lockup | hard\ LOCKUP
    | \bINFO:\ (?:possible\ |trying\ to\ register\ non-static\ key) | possible\ (?:recursive|circular|irq)
    | suspicious\ RCU\ usage | inconsistent\ lock\ state | inconsistent\ \{ | bad\ unlock\ balance
    | held\ lock\ freed | lock\ held\ when\ returning | still\ has\ locks\ held | DEBUG_LOCKS_WARN_ON
    | (?:MAX_\w+|BUG:.*)\ too\ low! | turning\ off\ the\ locking\ correctness\ validator | lockdep\ is\ turned\ off
    | kmemleak:\ (?!Kernel\ memory\ leak\ detector\ init|Automatic\ memory\ scanning)
    | Bad\ page\ state | bad\ page\ map | list_(?:add|del)\ corruption | refcount_t: | Kernel\ panic
    | Objects\ remaining | were\ never\ freed; | slab\ .*\ (?:Not\ a\ valid|corrupt) | stack-protector: | \bKCSAN: | \bKASAN:
    | scheduling\ while\ atomic | sleeping\ function\ called | non-zero\ .*\ counter | ODEBUG: | Call\ Trace:
    """,
    re.VERBOSE,
)

# Lines that the above would take for reports and that are none.
HARMLESS = re.compile(
    r"""
      # Races between others: a report about ours names the module in its first line.
      BUG:\ KCSAN:\ (?!.*\[(?:zsmalloc|zsrs))
    | [Cc]ommand\ line | virtme-ng-init:\  | as\ init\ process | kasan:\ .*initialized | oops=panic | panic_on
    | RCU\ .*[Ss]tall\ warn | rcu:.*(?:stall\ detection|suppress|RCU\ lockdep\ checking\ is\ enabled)
    | kasan_multi_shot | rcu_cpu_stall_timeout
    """,
    re.VERBOSE,
)

# Messages that are followed by a stack and are part of a test's plan: memory
# that a test made scarce, or asked to fail.
BENIGN_STACK = re.compile(
    r"invoked oom-killer|page allocation failure: order|FAULT_INJECTION: forcing a failure|sysrq: "
)

STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^]]*\])?\s*")


@dataclass
class Findings:
    """What a log holds: reports, and allowed ones that never came."""

    reports: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """True if there was nothing unexpected and all that was expected."""
        return not self.reports and not self.missing


def find_splats(lines: Iterable[tuple[int, str]], allowed: Iterable[str] = ()) -> Findings:
    """Search numbered kernel log lines; each regex of `allowed` must match a report."""
    patterns = [(text, re.compile(text)) for text in allowed]
    met: set[str] = set()
    found = Findings()
    # A stack belongs to the report before it: at most this many lines later.
    stack_until = 0
    for number, raw in lines:
        # Before there are time stamps: kmemleak=off was asked for.
        if raw.startswith("kmemleak: Kernel memory leak detector disabled"):
            continue
        line = STAMP.sub("", raw.rstrip("\r\n"))
        if BENIGN_STACK.search(line):
            stack_until = number + 60
            continue
        if not HEADS.search(line) or HARMLESS.search(line):
            continue
        if "Call Trace:" in line and number <= stack_until:
            continue
        stack_until = number + 150
        hits = [text for text, pattern in patterns if pattern.search(line)]
        met.update(hits)
        (found.allowed if hits else found.reports).append(f"{number}: {raw.rstrip()}")
    found.missing = [text for text, _ in patterns if text not in met]
    return found


def main() -> int:
    """Print the findings of one log file."""
    with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
        found = find_splats(enumerate(log, 1), sys.argv[2:])
    for line in found.reports:
        print(line)
    for text in found.missing:
        print(f"expected but not found: {text}")
    return 0 if found.clean else 1


if __name__ == "__main__":
    sys.exit(main())
