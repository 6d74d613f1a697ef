# SPDX-License-Identifier: GPL-2.0
"""Runs the tests: lint, host tests, KUnit suites and VM tests.

Names are paths: lint, atomics, host/..., kunit/FLAVOUR/SUITE/CASE,
vm/FLAVOUR/SCRIPT, boot/..., gate/..., demo/..., runner/... A PATTERN selects the tests
whose name contains it. Outputs are kept in out/test, kernel logs in out/vm. With --soak
there are tests on further kernels too, and the storms last longer.

Environment: STORM_S (seconds of each storm, 60; 600 with --soak), JOBS, TIMEOUT_SCALE
(multiplies every time limit, 1).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vm import WRONG_CLOCK

ROOT = Path(os.environ["ROOT"])
OUT = Path(os.environ["OUT"])
LOGS = OUT / "test"
SCRIPTS = ROOT / "scripts"
TIMEOUT_SCALE = float(os.environ.get("TIMEOUT_SCALE", "1"))
# Seconds of a storm in make test and in make soak, if STORM_S does not say.
STORM, SOAK_STORM = 60, 600

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# Exit status of a test that cannot run here; its last line says why.
EXIT_SKIP = 77
VM_TROUBLE = {
    99: "the kernel log has a report, or lacks an expected one",
    98: "the time limit was reached",
    97: "the guest did not boot or died",
    96: "the VM could not be started",
}


@dataclass
class Result:
    """The outcome of one test, or of one case of a group."""

    name: str
    outcome: str
    reason: str = ""
    seconds: float | None = None


@dataclass
class Job:
    """Something to run that yields one or more results.

    `flavour` names the kernel that it needs, `modules` says whether it needs the
    modules for it too; `group` is true if the results are cases whose names
    begin with the job's own.
    """

    name: str
    run: Callable[[Job], Iterator[Result]]
    flavour: str | None = None
    modules: bool = True
    group: bool = False
    limit: float = 600
    options: dict[str, str] = field(default_factory=dict)


def selected(name: str, patterns: list[str], group: bool = False) -> bool:
    """Whether the patterns select this test; a group if they may select a case of it."""
    return not patterns or any(p in name or (group and p.startswith(name + "/")) for p in patterns)


# Seconds, and seconds of CPU time of this program's children.
Times = tuple[float, float]


def times_now() -> Times:
    """The time, for times_since."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), used.ru_utime + used.ru_stime


def times_since(start: Times) -> Times:
    """What passed since."""
    now = times_now()
    return now[0] - start[0], now[1] - start[1]


def say(text: str) -> None:
    """Print a progress line."""
    print(text, flush=True)


# What runs now, to be ended with this program.
RUNNING: set[subprocess.Popen[bytes]] = set()
STOPPED = threading.Event()


def stop(signum: int, _frame: object) -> None:
    """End all that runs, then this program."""
    STOPPED.set()
    for process in list(RUNNING):
        end_group(process)
    sys.exit(128 + signum)


def execute(
    command: list[str],
    log: Path,
    limit: float,
    environment: dict[str, str] | None = None,
    directory: Path = ROOT,
) -> tuple[int, list[str]]:
    """Run a command, its output in a log; returns its status and its lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "wb") as file:
        status = run_group(
            command,
            limit * TIMEOUT_SCALE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, **(environment or {})},
        )
    return status, log.read_text(encoding="utf-8", errors="replace").splitlines()


def run_group(command: list[str], limit: float = 86400, **options: Any) -> int:
    """Run a command, and end what it has started and left; returns its status.

    Without a limit a signal's handler could not wait for the process: a lock is held.
    """
    if STOPPED.is_set():
        return 128 + signal.SIGTERM
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options) as process:
        RUNNING.add(process)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return 98
        finally:
            # A virtual machine, say, would slow down all later tests.
            end_group(process)
            RUNNING.discard(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command and what is left of its children; scripts/vm ends its machine itself."""
    for signum, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def tail(lines: list[str], count: int = 25) -> None:
    """Show the end of a failed test's output."""
    for line in lines[-count:]:
        say(f"    | {line}")


def reason_of(status: int) -> str:
    """What an exit status of a test means."""
    return VM_TROUBLE.get(status, f"exit status {status}")


def log_of(job: Job) -> Path:
    """Where the output of a job is kept."""
    return LOGS / (job.name.replace("/", "-") + ".log")


def run_command(job: Job) -> Iterator[Result]:
    """A test that is one command on the host."""
    status, lines = execute(shlex.split(job.options["command"]), log_of(job), job.limit)
    if status == 0:
        yield Result(job.name, PASSED)
    elif status == EXIT_SKIP:
        yield Result(job.name, SKIPPED, lines[-1] if lines else "no reason given")
    else:
        tail(lines)
        yield Result(job.name, FAILED, reason_of(status))


CARGO_TEST = re.compile(
    r"^test (?P<name>\S+)(?: - .*)? \.\.\. (?P<outcome>ok|FAILED|ignored)(?:, (?P<reason>.*))?"
)
CARGO_TARGET = re.compile(r"^\s+(?:Running (?:unittests )?(?P<path>\S+)|Doc-tests (?P<doc>\S+))")
CARGO_SUMMARY = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")


def run_cargo(job: Job) -> Iterator[Result]:
    """Cargo tests of one crate in one configuration, each test counted."""
    environment = {"RUSTFLAGS": job.options.get("rustflags", ""), "CARGO_TERM_COLOR": "never"}
    status, lines = execute(
        shlex.split(job.options["command"]), log_of(job), job.limit, environment
    )
    target, counted, summed, failed = "", 0, 0, 0
    for line in lines:
        if match := CARGO_TARGET.match(line):
            target = "doc" if match["doc"] else Path(match["path"]).stem
        elif match := CARGO_TEST.match(line):
            counted += 1
            outcome = {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED}[match["outcome"]]
            failed += outcome == FAILED
            yield Result(f"{job.name}/{target}/{match['name']}", outcome, match["reason"] or "")
        elif match := CARGO_SUMMARY.match(line):
            summed += sum(map(int, match.groups()))
    if status != 0:
        tail(lines, 60)
    if status != 0 and failed == 0:
        yield Result(
            job.name,
            FAILED,
            f"cargo did not come to the end ({reason_of(status)}); see {log_of(job)}",
        )
    elif counted != summed or counted == 0:
        yield Result(
            job.name,
            FAILED,
            f"cargo reports {summed} tests, {counted} were read; see {log_of(job)}",
        )


def vm_command(job: Job, command: list[str]) -> list[str]:
    """The command line of a VM with the job's options."""
    name = job.name.replace("/", "-")
    line = [str(SCRIPTS / "vm"), "--kernel", str(job.flavour), "--name", name]
    line += ["--timeout", str(job.limit * TIMEOUT_SCALE)]
    for option in ("memory", "cpus", "nodes", "append"):
        if option in job.options:
            line += [f"--{option}", job.options[option]]
    for text in shlex.split(job.options.get("allow_splat", "")):
        line += ["--allow-splat", text]
    if "disk" in job.options:
        image = OUT / "vm" / f"{name}.img"
        image.parent.mkdir(parents=True, exist_ok=True)
        image.unlink(missing_ok=True)
        subprocess.run(["truncate", "-s", job.options["disk"], image], check=True)
        line += ["--disk", str(image)]
    return [*line, "--", *command]


def run_in_vm(job: Job) -> Iterator[Result]:
    """A test script in a VM: 0 passed, 77 skipped."""
    script = job.options["script"]
    # The VM has its own time limit; this one is only for a runner that hangs.
    status, lines = execute(vm_command(job, ["bash", script]), log_of(job), job.limit + 60)
    if status == 0:
        yield Result(job.name, PASSED)
    elif status == EXIT_SKIP:
        said = [line for line in lines if line.strip() and not line.startswith("[vm]")]
        yield Result(job.name, SKIPPED, said[-1] if said else "no reason given")
    else:
        tail(lines, 40)
        yield Result(job.name, FAILED, f"{reason_of(status)}; see {log_of(job)}")


KTAP_CASE = re.compile(
    r"^(?P<indent>\s*)(?P<outcome>ok|not ok) (?:\d+) (?P<name>\S+)(?: # SKIP ?(?P<reason>.*))?"
)
KTAP_PLAN = re.compile(r"^ {4}1\.\.(\d+)$")


def read_suite(prefix: str, lines: list[str]) -> Iterator[Result]:
    """The cases of one suite's results file; the suite's own plan must be kept.

    What stands at the margin is about the suite as a whole ("1..1"); the suite's
    plan and cases are indented by four, the parameters of a case by more.
    """
    planned: int | None = None
    cases = 0
    closed = False
    for line in lines:
        if planned is None and (match := KTAP_PLAN.match(line)):
            planned = int(match[1])
        elif match := KTAP_CASE.match(line):
            if not match["indent"]:
                closed = True
            elif len(match["indent"]) == 4:
                cases += 1
                good = SKIPPED if match["reason"] is not None else PASSED
                outcome = good if match["outcome"] == "ok" else FAILED
                yield Result(f"{prefix}/{match['name']}", outcome, match["reason"] or "")
    if planned != cases:
        yield Result(prefix, FAILED, f"the suite planned {planned} cases, {cases} were reported")
    elif not closed:
        yield Result(prefix, FAILED, "the suite's own result is missing")


SUITE_NAME = re.compile(r'^\t\.name = "(zsrs_\w+)",$', re.MULTILINE)


def suites_of(arguments: list[str]) -> set[str]:
    """The suites that kunit_guest must run, by their source; vm/.../misuse runs one."""
    sources = (ROOT / "tests/kunit").glob("*.c")
    names = {name for path in sources for name in SUITE_NAME.findall(path.read_text("utf-8"))}
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    excluded = ("misuse", options.get("--without", "misuse"))
    return {name for name in names if not any(word in name for word in excluded)}


def run_kunit(job: Job) -> Iterator[Result]:
    """All suites of the test modules in one VM, each case counted."""
    arguments = shlex.split(job.options.get("arguments", ""))
    command = [str(SCRIPTS / "lib/kunit_guest"), *arguments]
    status, lines = execute(vm_command(job, command), log_of(job), job.limit + 60)
    body: list[str] = []
    suite, failures = "", 0
    missing = suites_of(arguments)
    for line in lines:
        if line.startswith("ZSRS-KTAP-BEGIN "):
            suite, body = line.split()[1], []
        elif line.startswith("ZSRS-KTAP-END "):
            missing.discard(suite)
            for result in read_suite(f"{job.name}/{suite}", body):
                failures += result.outcome == FAILED
                yield result
        else:
            body.append(line)
    if status != 0 or failures:
        tail(lines, 40)
    if status != 0:
        yield Result(job.name, FAILED, f"{reason_of(status)}; see {log_of(job)}")
    elif missing or "ZSRS-KTAP-DONE" not in lines:
        why = f"no results of {', '.join(sorted(missing))}" if missing else "it broke off"
        yield Result(job.name, FAILED, f"{why}; see {log_of(job)}")


def header_of(script: Path) -> dict[str, str]:
    """The options in the `# vm:` lines at the head of a test script."""
    options: dict[str, str] = {}
    for line in script.read_text(encoding="utf-8").splitlines()[:30]:
        if line.startswith("# vm:"):
            for word in shlex.split(line.removeprefix("# vm:")):
                name, _, value = word.partition("=")
                options[name] = value
    return options


# The kernels that make test boots, and those of make soak (see scripts/kernel).
FLAVOURS = ("normal", "debug")
SOAK_FLAVOURS = ("builtin", "bare", "gcc", "rt", "numa", "arm64", "arm64_64k", "kcsan", "um")

# What make test leaves to make soak: long storms on the kernel that finds less in them, and the
# comparison with C zsmalloc on the one that is slow.
KUNIT_SHORT = {"normal": "--storm 10", "debug": "--without versus"}

# The suites count in pages, whatever size these have.
KUNIT_MEMORY = {"arm64_64k": "6G"}

# Files in tests/vm that tests source.
SOURCED = ("lib.sh", "moving_lib.sh", "writeback_lib.sh")

KNOWN_OPTIONS = {
    "flavours",
    "soak",
    "timeout",
    "memory",
    "cpus",
    "nodes",
    "append",
    "disk",
    "allow_splat",
}


def longer_storms() -> float:
    """Seconds to add to the limit of a test that storms, which may do so three times."""
    return 3 * max(0, int(os.environ["STORM_S"]) - STORM)


def vm_jobs(flavour: str, whole: bool) -> Iterator[Job]:
    """The test scripts in tests/vm that name this flavour: `flavours`, if whole also `soak`."""
    for script in sorted((ROOT / "tests/vm").glob("*.sh")):
        if script.name in SOURCED:
            continue
        options = header_of(script)
        if not options:
            sys.exit(f"{script}: no '# vm:' line")
        named = options.get("flavours", "normal").split(",")
        extra = options.get("soak", "").split(",")
        if unknown := {*named, *extra} - {"", *FLAVOURS, *SOAK_FLAVOURS}:
            sys.exit(f"{script}: no such kernel in the '# vm:' line: {', '.join(sorted(unknown))}")
        if unknown := set(options) - KNOWN_OPTIONS:
            sys.exit(f"{script}: unknown option in the '# vm:' line: {', '.join(sorted(unknown))}")
        if flavour in named or (whole and flavour in extra):
            yield Job(
                f"vm/{flavour}/{script.stem}",
                run_in_vm,
                flavour,
                limit=float(options.get("timeout", "300")) + longer_storms(),
                options={**options, "script": str(script.relative_to(ROOT))},
            )


def jobs(soak: bool, whole: bool) -> Iterator[Job]:
    """Everything there is, in the order in which it runs.

    With `soak` on all kernels; if `whole` also what make test leaves to make soak.
    """
    yield Job(
        "lint",
        run_command,
        "normal",
        modules=False,
        limit=600,
        options={"command": "scripts/lint"},
    )
    module = OUT / "build/normal/zsmalloc-rs.ko"
    yield Job(
        "atomics",
        run_command,
        "normal",
        limit=60,
        options={"command": f"tests/lint/atomics {shlex.quote(str(module))}"},
    )
    manifest = ROOT / "tests/host/Cargo.toml"
    test = f"cargo test --locked --manifest-path {manifest} --release --no-fail-fast --target-dir"
    yield Job(
        "host/release",
        run_cargo,
        group=True,
        limit=1200,
        options={"command": f"{test} {OUT}/host"},
    )
    # A target folder of its own: another cfg would rebuild everything each time.
    loom = {"command": f"{test} {OUT}/loom --test loom", "rustflags": "--cfg loom"}
    yield Job("host/loom", run_cargo, group=True, limit=1200, options=loom)
    for flavour in FLAVOURS + (SOAK_FLAVOURS if soak else ()):
        if flavour != "builtin":
            limit = (600 if flavour == "normal" else 1500) + longer_storms()
            arguments = "" if whole else KUNIT_SHORT.get(flavour, "")
            options = {"arguments": arguments}
            if flavour in KUNIT_MEMORY:
                options["memory"] = KUNIT_MEMORY[flavour]
            yield Job(
                f"kunit/{flavour}", run_kunit, flavour, group=True, limit=limit, options=options
            )
        yield from vm_jobs(flavour, whole)
        if flavour == "normal":
            for name, path in (PROGRAMS | (SOAK_PROGRAMS if soak else {})).items():
                yield Job(
                    f"{name}/{flavour}",
                    run_program,
                    flavour,
                    group=True,
                    limit=1800 if name in SOAK_PROGRAMS else 600,
                    options={"command": str(ROOT / path)},
                )
        if flavour in PLANTED and (whole or flavour == "normal"):
            yield Job(f"runner/{flavour}", run_runner, flavour, group=True, limit=300)


# Programs that print a line for each case, and what make test leaves to make soak.
PROGRAMS = {
    "boot": "tests/vm/boot/run",
    "gate": "tests/bench/gate/run",
    "external": "tests/external/run",
}
SOAK_PROGRAMS = {"demo": "tests/demo/run"}


def run_program(job: Job) -> Iterator[Result]:
    """A program that prints one line `RESULT NAME ok` or `RESULT NAME FAILED: why` per case.

    It gets the flavour of the kernel as its argument: the boots with zswap on
    the command line, the limits on what the operations cost.
    """
    status, lines = execute([job.options["command"], str(job.flavour)], log_of(job), job.limit)
    cases, failures = 0, 0
    for line in lines:
        if not line.startswith("RESULT "):
            continue
        cases += 1
        if match := re.match(r"^RESULT (\S+) ok(?:: (.*))?$", line):
            yield Result(f"{job.name}/{match[1]}", PASSED, match[2] or "")
            continue
        failures += 1
        _, name, *why = line.split(" ", 2)
        yield Result(f"{job.name}/{name}", FAILED, " ".join(why).removeprefix("FAILED: "))
    if status != 0:
        tail(lines)
    if (status != 0 and not failures) or cases == 0:
        yield Result(job.name, FAILED, f"{reason_of(status)}; see {log_of(job)}")


# What makes a kernel warn, and what its warnings are called.
WARN = "insmod $ZSRS_BUILD/zsmalloc-rs.ko && insmod $ZSRS_BUILD/tests/kunit/zsrs_misuse_kunit.ko"
WARNING = "WARNING: .* rust_helper_warn"
# How reports of KCSAN begin.
RACE = "BUG: KCSAN: data-race in"

# Leaves a spinlock locked, which the debug kernel must report.
LOCK_UP = "modprobe lkdtm && echo SPINLOCKUP >/sys/kernel/debug/provoke-crash/DIRECT; true"

# An emulator that dies at its first starts, early.
DYING_EMULATOR = """\
#!/bin/bash
# Written by scripts/test.
case "$*" in
*-kernel*)
	echo >>"$0.starts"
	[ "$(wc -l <"$0.starts")" -gt {deaths} ] || exec timeout --signal=KILL 0.5 {emulator} "$@"
	;;
esac
exec {emulator} "$@"
"""


@dataclass
class Plant:
    """A fault planted in a VM, and the exit status with which its runner must tell it.

    `deaths` says how often the emulator dies before the guest boots.
    """

    status: int
    command: str
    options: list[str] = field(default_factory=list)
    deaths: int = 0


# By kernel.
PLANTED = {
    "normal": {
        "status": Plant(7, "exit 7"),
        "warning": Plant(99, WARN),
        "allowed": Plant(0, WARN, ["--allow-splat", WARNING]),
        "absent": Plant(99, "true", ["--allow-splat", WARNING]),
        "panic": Plant(99, "echo c >/proc/sysrq-trigger"),
        "hang": Plant(98, "echo hanging; sleep 600", ["--timeout", "15"]),
        "emulator_died": Plant(7, "exit 7", deaths=2),
        "emulator_dies": Plant(97, "exit 7", deaths=3),
        "wrong_clock": Plant(97, f"echo '{WRONG_CLOCK}' >/dev/kmsg; sleep 20"),
    },
    "debug": {"sleep_in_atomic": Plant(99, LOCK_UP)},
    "kcsan": {
        "race_of_ours": Plant(99, f"echo '{RACE} a [zsmalloc_rs] / b' >/dev/kmsg"),
        "race_of_others": Plant(0, f"echo '{RACE} a / b [zram]' >/dev/kmsg"),
    },
}


def dying_emulator(folder: Path, deaths: int) -> dict[str, str]:
    """The environment in which the emulator dies at its first starts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    program = folder / "qemu-system-x86_64"
    text = DYING_EMULATOR.format(deaths=deaths, emulator=shutil.which(program.name))
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def run_runner(job: Job) -> Iterator[Result]:
    """The runner itself: each planted fault must be told from the others."""
    for name, plant in PLANTED[str(job.flavour)].items():
        log = LOGS / f"runner-{name}.log"
        line = [
            str(SCRIPTS / "vm"),
            "--kernel",
            str(job.flavour),
            "--name",
            f"runner-{name}",
            "--timeout",
            "240",
        ]
        line += [*plant.options, "--", "bash", "-c", plant.command]
        emulator = dying_emulator(LOGS / f"runner-{name}.d", plant.deaths) if plant.deaths else {}
        started = time.monotonic()
        status, lines = execute(line, log, 300, emulator)
        seconds = time.monotonic() - started
        if status == plant.status:
            yield Result(f"{job.name}/{name}", PASSED, seconds=seconds)
        else:
            tail(lines)
            yield Result(
                f"{job.name}/{name}",
                FAILED,
                f"exit status {status}, not {plant.status}; see {log}",
                seconds,
            )


@dataclass
class Session:
    """What was done so far."""

    patterns: list[str]
    results: list[Result] = field(default_factory=list)
    times: list[tuple[str, Times]] = field(default_factory=list)
    prepared: dict[str, str] = field(default_factory=dict)

    def record(self, result: Result) -> None:
        """Count a result and print its line."""
        self.results.append(result)
        seconds = "" if result.seconds is None else f" ({result.seconds:.1f} s)"
        reason = f": {result.reason}" if result.reason else ""
        word = {PASSED: "ok  ", FAILED: "FAIL", SKIPPED: "skip"}[result.outcome]
        say(f"{word} {result.name}{seconds}{reason}")

    def step(self, name: str, command: list[str]) -> bool:
        """Run a preparation with its output shown; records a failure."""
        say(f"== {name}")
        started = times_now()
        status = run_group(command, cwd=ROOT)
        self.times.append((name, times_since(started)))
        if status != 0:
            self.record(
                Result(f"prepare/{name.replace(' ', '_')}", FAILED, f"exit status {status}")
            )
        return status == 0

    def prepare(self, job: Job) -> str:
        """Build the kernel and the modules that a job needs, once; returns what is wrong."""
        for what in ("kernel", "modules") if job.modules else ("kernel",):
            name = f"{job.flavour} {what}"
            if name not in self.prepared:
                command = (
                    [str(SCRIPTS / "kernel"), "build"]
                    if what == "kernel"
                    else [str(SCRIPTS / "modules")]
                )
                built = self.step(name, [*command, str(job.flavour)])
                self.prepared[name] = "" if built else f"the {name} did not build"
            if self.prepared[name]:
                return self.prepared[name]
        if job.run is not run_in_vm:
            return ""
        name = f"{job.flavour} guest programs"
        if name not in self.prepared:
            built = self.step(name, [str(ROOT / "tests/vm/prepare"), str(job.flavour)])
            self.prepared[name] = "" if built else f"the {name} did not build"
        return self.prepared[name]

    def run(self, job: Job) -> None:
        """Run one job and record what it yields."""
        if job.flavour and (problem := self.prepare(job)):
            self.record(Result(job.name, FAILED, problem))
            return
        say(f"-- {job.name} (limit {job.limit * TIMEOUT_SCALE:.0f} s)")
        started = times_now()
        try:
            for result in job.run(job):
                if (
                    job.group
                    and not selected(result.name, self.patterns)
                    and result.outcome != FAILED
                ):
                    continue
                if not job.group:
                    result.seconds = times_since(started)[0]
                self.record(result)
        except Exception as error:  # one broken job must not hide the others
            traceback.print_exc()
            self.record(Result(job.name, FAILED, f"the runner failed: {error!r}"))
        self.times.append((job.name, times_since(started)))

    def run_all(self, chosen: list[Job]) -> None:
        """Run jobs one after the other; those of the host beside the VMs, which leave it time."""
        host = [job for job in chosen if job.name == "lint" or job.run is run_cargo]
        for job in host:
            if job.flavour:
                self.prepare(job)
        beside = threading.Thread(target=lambda: [self.run(job) for job in host])
        beside.start()
        for job in chosen:
            if job not in host:
                self.run(job)
        beside.join()

    def close(self, total: Times) -> int:
        """Print the times, the failures and the closing line."""
        say("== times: seconds, and of CPU time that ended meanwhile (a busy machine takes longer)")
        for name, (seconds, cpu) in (*self.times, ("in all", total)):
            say(f"{seconds:8.1f} {cpu:8.1f}  {name}")
        failed = [result for result in self.results if result.outcome == FAILED]
        for result in failed:
            say(f"FAIL {result.name}: {result.reason}")
        count = {
            word: sum(r.outcome == word for r in self.results) for word in (PASSED, FAILED, SKIPPED)
        }
        if not self.results:
            say(f"no test has a name that contains {' or '.join(self.patterns)!r}")
        say(f"{count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped")
        return 1 if failed or not count[PASSED] else 0


def main() -> int:
    """Run the selected tests."""
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--soak", action="store_true", help="longer, and on further kernels")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    arguments = parser.parse_args()
    os.environ.setdefault("STORM_S", str(SOAK_STORM if arguments.soak else STORM))
    # Whatever the locale: a log's odd character must not end the run.
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    # What is asked for by name is run whole.
    whole = arguments.soak or bool(arguments.patterns)
    chosen = [
        job
        for job in jobs(arguments.soak, whole)
        if selected(job.name, arguments.patterns, job.group)
    ]
    if arguments.list:
        for job in chosen:
            print(job.name + ("/..." if job.group else ""))
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    lock = open(OUT / "test.lock", "w", encoding="ascii")  # pylint: disable=consider-using-with
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("tests run in this checkout already; wait for them, or take another checkout")
        return 2
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)
    if any(str(job.flavour).startswith("arm64") for job in chosen):
        # It asks for sudo's password, which nothing that the session starts can.
        subprocess.run([SCRIPTS / "arm64_root"], check=False, stdout=subprocess.DEVNULL)
    session = Session(arguments.patterns)
    started = times_now()
    session.run_all(chosen)
    return session.close(times_since(started))


if __name__ == "__main__":
    sys.exit(main())
