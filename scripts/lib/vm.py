# SPDX-License-Identifier: GPL-2.0
"""Runs a command in a VM on one of the project's kernels, through virtme-ng, or, if the kernel is
one for User Mode Linux, in a process of this machine.

The guest sees the host's files read-only (a throw-away overlay takes writes), or, if it
is another kind of machine, Debian's files for that and the checkout. It runs the command
as root in the checkout, and its output is passed on. The kernel's console and the output
are kept in out/vm/NAME.log. The exit status is the command's own, or
  99  the kernel log has a report (BUG, WARNING, KASAN, lockdep ...), or an
      expected one is missing
  98  the time limit was reached
  97  the guest did not boot, thrice, or died before the command ended
  96  the VM could not be started
"""

from __future__ import annotations

import argparse
import fcntl
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from splats import find_splats  # noqa: E402

ROOT = Path(os.environ["ROOT"])
OUT = Path(os.environ["OUT"])

EXIT_SPLAT = 99
EXIT_TIMEOUT = 98
EXIT_DIED = 97
EXIT_NO_VM = 96

# How often a guest is started that ends before its first program runs.
STARTS = 3

# What a guest says whose clock will run many times too fast: the host held it up as it measured.
WRONG_CLOCK = "tsc: PIT calibration deviates from HPET"

# The guest boots with one CPU, where the others can be brought up later: QEMU 7.2 (more often when
# the host is busy) looks up the wrong device for a CPU, or falls over, while another CPU gives PCI
# devices their addresses.
ONE_CPU = "maxcpus=1"

# Lines of the log with their numbers, from 1.
Lines = list[tuple[int, str]]

# Flavours of the kernel for other machines than this.
FOREIGN = ("arm64", "arm64_64k")

# Where guests with such a machine have the folder for results.
RESULTS = Path("/results")

# The flavour that needs no emulator.
USER_MODE = "um"
# MiB that it can have. Its modules come after its memory, and must find the kernel's functions
# within 2 GiB. Between these and the memory the host leaves up to 1 GiB, at random: with 1 GiB
# of memory one guest in sixty panicked when it loaded a module.
USER_MODE_MOST = 768

# Taint flags that only a report sets (see Documentation/admin-guide/tainted-kernels.rst).
TAINTS = {5: "bad page", 7: "oops", 9: "warning", 14: "soft lockup"}

# Any report shall be complete (the first KASAN report would otherwise silence
# the rest and lockdep), a dead guest shall end at once, and a slow host shall
# not look like a hung guest.
KERNEL_ARGUMENTS = (
    "printk.time=1 kasan_multi_shot oops=panic panic=-1 watchdog_thresh=30 "
    "rcupdate.rcu_cpu_stall_timeout=60 sysctl.kernel.hung_task_timeout_secs=60"
)

# What virtme-ng's init does, where there is none. The kernel's messages go to standard error.
INIT_SCRIPT = """\
#!/bin/bash
# Written by scripts/vm.
mount -t proc none /proc
mount -t sysfs none /sys
mount -t debugfs none /sys/kernel/debug
mount -t tmpfs none /tmp
mount -t tmpfs none /run
ln -s /proc/self/fd /dev/fd
mount -t hostfs -o {results} none {results}
/bin/bash {script} >/dev/tty0 2>&1
exec /usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
"""

GUEST_SCRIPT = """\
#!/bin/bash
# Written by scripts/vm.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
exec </dev/null 2>&1
for cpu in /sys/devices/system/cpu/cpu*/online; do
	[ ! -e "$cpu" ] || [ "$(cat "$cpu")" = 1 ] || echo 1 >"$cpu"
done
cpus=$(nproc)
if [ "$cpus" != {cpus} ]; then
	echo "[vm] the guest has $cpus CPUs, not {cpus}"
	echo "done 96 0" >{results}/.state
	exit 96
fi
echo booted >{results}/.state
mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug 2>/dev/null
{environment}
{modules}
cd {root} || exit 96
{command}
status=$?
read -r taint </proc/sys/kernel/tainted
echo "done $status $taint" >{results}/.state
sync
exit $status
"""


# A root of another kind has no modules of its own.
LINK_MODULES = """\
mkdir -p /lib/modules
ln -s {kernel}/.virtme_mods/lib/modules/0.0.0 "/lib/modules/$(uname -r)"
"""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/vm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kernel", default="normal", help="flavour of the kernel (see scripts/kernel); normal"
    )
    parser.add_argument("--name", help="names the log; the flavour")
    parser.add_argument("--timeout", type=float, default=600, help="time limit in seconds; 600")
    parser.add_argument(
        "--memory", default="1G", help="memory of the guest; 1G (User Mode Linux: 768M at most)"
    )
    parser.add_argument("--cpus", type=int, default=2, help="CPUs of the guest; 2")
    parser.add_argument(
        "--nodes", type=int, default=1, help="memory nodes to divide memory and CPUs among; 1"
    )
    parser.add_argument("--append", action="append", default=[], help="further kernel arguments")
    parser.add_argument(
        "--disk", action="append", default=[], help="a raw image, /dev/vda and so on in the guest"
    )
    parser.add_argument(
        "--icount", action="store_true", help="count instructions: 1 ns each, one CPU"
    )
    parser.add_argument(
        "--allow-splat",
        action="append",
        default=[],
        metavar="REGEX",
        help="a report that must occur and is no fault",
    )
    parser.add_argument("--console", action="store_true", help="show the kernel's messages too")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")
    return parser.parse_args()


def say(text: str) -> None:
    """Print a message of this program."""
    print(f"[vm] {text}", file=sys.stderr, flush=True)


def path_from(*command: str) -> Path:
    """The path that one of the project's scripts prints."""
    script, *arguments = command
    run = subprocess.run(
        [ROOT / "scripts" / script, *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if run.returncode != 0:
        sys.exit(EXIT_NO_VM)
    return Path(run.stdout.strip())


def machine_options(flavour: str, kernel: Path) -> tuple[list[str], list[str]]:
    """virtme-ng's and QEMU's options for a machine of another kind than this one.

    Programs of this machine do not run there, so the guest has a root of its own; the checkout and
    the kernel's build folder are where they are here.
    """
    if flavour not in FOREIGN:
        return [], []
    root = path_from("arm64_root")
    for place in (ROOT, kernel, RESULTS):
        (root / str(place).lstrip("/")).mkdir(parents=True, exist_ok=True)
    options = ["--arch", "arm64", "--root", str(root)]
    options += [f"--rodir={folder}={folder}" for folder in (ROOT, kernel)]
    # A CPU that knows pages of 16 KiB.
    return options, ["-cpu", "max"]


def seen_by_guest(results: Path, flavour: str) -> Path:
    """Where the guest has the folder for results: virtme-ng mounts it before the checkout."""
    return RESULTS if flavour in FOREIGN else results


def cpus_of(arguments: argparse.Namespace) -> int:
    """How many CPUs the guest has."""
    return 1 if arguments.icount or arguments.kernel == USER_MODE else arguments.cpus


def write_guest_script(arguments: argparse.Namespace, results: Path, kernel: Path) -> Path:
    """Write what the guest runs, and say where it sees that.

    The kernel command line is too short for it.
    """
    flavour = arguments.kernel
    seen = seen_by_guest(results, flavour)
    variables = {
        "ZSRS_BUILD": str(OUT / "build" / flavour),
        "ZSRS_KERNEL": flavour,
        "ZSRS_KDIR": str(kernel),
        "ZSRS_RESULTS": str(seen),
    }
    passed_on = ("ZSRS_", "STORM_S")
    variables.update(
        {name: value for name, value in os.environ.items() if name.startswith(passed_on)}
    )
    text = GUEST_SCRIPT.format(
        results=shlex.quote(str(seen)),
        environment="\n".join(
            f"export {name}={shlex.quote(value)}" for name, value in variables.items()
        ),
        modules=LINK_MODULES.format(kernel=shlex.quote(str(kernel))) if flavour in FOREIGN else "",
        root=shlex.quote(str(ROOT)),
        cpus=cpus_of(arguments),
        command=shlex.join(arguments.command),
    )
    script = results / ".guest.sh"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    return seen / script.name


def megabytes(text: str) -> int:
    """A memory size such as 512M or 1G."""
    unit = {"M": 1, "G": 1024}.get(text[-1:].upper())
    if unit is None or not text[:-1].isdigit():
        sys.exit(f"[vm] --memory {text} is no size; write it as 512M or 1G")
    return int(text[:-1]) * unit


def node_options(nodes: int, memory: int, cpus: int) -> list[str]:
    """virtme-ng's options for so many equal memory nodes; the CPUs are dealt out."""
    options = []
    for node in range(nodes if nodes > 1 else 0):
        mine = "".join(f",cpus={cpu}" for cpu in range(node, cpus, nodes))
        options += ["--numa", f"{memory // nodes}M{mine}"]
    return options


def uml_command(
    arguments: argparse.Namespace, kernel: Path, results: Path, script: Path
) -> list[str]:
    """The command line of User Mode Linux."""
    if arguments.icount or arguments.disk or arguments.nodes > 1:
        sys.exit("[vm] User Mode Linux has no --icount, --disk or --nodes")
    memory = min(megabytes(arguments.memory), USER_MODE_MOST)
    init = results / ".init.sh"
    places = {"results": shlex.quote(str(results)), "script": shlex.quote(str(script))}
    init.write_text(INIT_SCRIPT.format(**places), encoding="utf-8")
    init.chmod(0o755)
    # Its memory is a file, which must be in memory; the terminal is standard output only.
    return [
        "env",
        "TMPDIR=/dev/shm",
        str(path_from("kernel", "image", arguments.kernel)),
        f"mem={memory}M",
        "root=none",
        "rootfstype=hostfs",
        "ro",
        "con0=null,fd:1",
        "con1=null,fd:2",
        "console=tty1",
        *KERNEL_ARGUMENTS.split(),
        *arguments.append,
        f"init={init}",
    ]


def vng_command(
    arguments: argparse.Namespace, kernel: Path, results: Path, script: Path
) -> list[str]:
    """The virtme-ng command line."""
    cpus = cpus_of(arguments)
    options = ["-accel", "tcg" if arguments.icount else "tcg,thread=multi"]
    if arguments.icount:
        options += ["-icount", "shift=0"]
    # CPUs of one socket on two nodes make the kernel warn.
    if arguments.nodes > 1:
        options += ["-smp", f"{cpus},sockets={arguments.nodes}"]
    machine, cpu = machine_options(arguments.kernel, kernel)
    options += cpu
    # Not by virtme-ng's own option: it leaves QEMU to guess the format.
    for disk in arguments.disk:
        options += ["-drive", f"if=virtio,format=raw,file={Path(disk).resolve()}"]
    command = ["vng", "--verbose", "--disable-kvm", "--force-9p", "--user", "root"]
    command += [
        *machine,
        "--run",
        str(path_from("kernel", "image", arguments.kernel)),
        "--cpus",
        str(cpus),
        "--memory",
        arguments.memory,
    ]
    command += node_options(arguments.nodes, megabytes(arguments.memory), cpus)
    command += [
        f"--rwdir={seen_by_guest(results, arguments.kernel)}={results}",
        f"--rodir=/usr/lib/udev/rules.d={ROOT}/scripts/lib/udev",
    ]
    command += ["--append", KERNEL_ARGUMENTS]
    # Kernels for the others have no CPU hotplug.
    if arguments.kernel not in FOREIGN:
        command += ["--append", ONE_CPU]
    for text in arguments.append:
        command += ["--append", text]
    command += [
        f"--qemu-opts={' '.join(options)}",
        "--exec",
        f"/bin/bash {shlex.quote(str(script))}",
    ]
    return command


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the VM: its whole process group, which is its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def run(
    command: list[str], log_path: Path, timeout: float, show_console: bool
) -> tuple[bool, Lines]:
    """Run the VM; returns whether it ran into the limit, and the console's lines."""
    console: Lines = []
    number = 0
    partial = {"out": b"", "console": b""}
    deadline = time.monotonic() + timeout
    timed_out = False
    with (
        open(log_path, "w", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout and process.stderr
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ, "out")
                selector.register(process.stderr, selectors.EVENT_READ, "console")
                while selector.get_map():
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        timed_out = True
                        break
                    for key, _ in selector.select(min(remaining, 5)):
                        data = os.read(key.fd, 65536)
                        if not data:
                            selector.unregister(key.fileobj)
                            data = b"\n" if partial[key.data] else b""
                        *lines, partial[key.data] = (partial[key.data] + data).split(b"\n")
                        for line in lines:
                            number += 1
                            text = line.rstrip(b"\r").decode(errors="replace")
                            log.write(f"{text}\n")
                            if key.data == "console":
                                console.append((number, text))
                                if WRONG_CLOCK in text:
                                    stop(process)
                            if key.data == "out" or show_console:
                                print(text, flush=True)
                        log.flush()
        finally:
            if process.poll() is None:
                stop(process)
        for source, data in partial.items():
            if data:
                number += 1
                log.write(data.decode(errors="replace") + "\n")
                if source == "console":
                    console.append((number, data.decode(errors="replace")))
    return timed_out, console


def read_state(results: Path) -> tuple[str, int, int]:
    """How far the guest came: a word, the command's status, the taint flags."""
    try:
        words = (results / ".state").read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return "never", EXIT_DIED, 0
    if len(words) == 3 and words[0] == "done":
        return "done", int(words[1]), int(words[2])
    return "booted", EXIT_DIED, 0


def show_end(console: Lines) -> None:
    """Print the last of the console's lines."""
    for _, line in console[-10:]:
        say(f"  {line}")


def emulator_broke(
    arguments: argparse.Namespace, results: Path, timed_out: bool, console: Lines
) -> bool:
    """Whether the guest ended before any program ran, without a word of the kernel about it."""
    if timed_out or read_state(results)[0] != "never":
        return False
    return not find_splats(console, arguments.allow_splat).reports


def judge(
    arguments: argparse.Namespace, results: Path, timed_out: bool, console: Lines, log: Path
) -> int:
    """Tell what happened and return the exit status."""
    found = find_splats(console, arguments.allow_splat)
    state, status, taint = read_state(results)
    names = [name for bit, name in TAINTS.items() if taint & 1 << bit]
    shown = log.relative_to(ROOT) if log.is_relative_to(ROOT) else log
    for line in found.reports[:40]:
        say(f"kernel report, line {line}")
    for text in found.missing:
        say(f"the expected report {text!r} did not occur")
    if names and not found.reports and not found.allowed:
        say(
            f"the kernel is tainted ({', '.join(names)}), yet its log has no report that explains it"
        )
        found.reports.append("taint")
    if not found.clean:
        say(f"the kernel log has {len(found.reports)} unexpected reports; see {shown}")
        return EXIT_SPLAT
    if timed_out:
        say(f"the time limit of {arguments.timeout:.0f} s was reached ({state}); see {shown}")
        return EXIT_TIMEOUT
    if state == "never":
        say(f"the guest did not boot; see {shown}; its last lines:")
    elif state == "booted":
        say(f"the guest died before the command ended; see {shown}; its last lines:")
    if state != "done":
        show_end(console)
    return status


def main() -> int:
    """Run one VM."""
    arguments = parse_arguments()
    name = arguments.name or arguments.kernel
    kernel = path_from("kernel", "path", arguments.kernel)
    results = OUT / "vm" / f"{name}.d"
    results.mkdir(parents=True, exist_ok=True)
    log = OUT / "vm" / f"{name}.log"
    with open(OUT / "vm" / f"{name}.lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"a VM of the name {name!r} is running; choose another with --name")
            return EXIT_NO_VM
        for old in results.iterdir():
            if old.is_file():
                old.unlink()
        script = write_guest_script(arguments, results, kernel)
        command_of = uml_command if arguments.kernel == USER_MODE else vng_command
        command = command_of(arguments, kernel, results, script)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        for start in range(1, STARTS + 1):
            timed_out, console = run(command, log, arguments.timeout, arguments.console)
            if start == STARTS or not emulator_broke(arguments, results, timed_out, console):
                break
            say(f"the guest ended while it booted, at start {start} of {STARTS}; its last lines:")
            show_end(console)
    return judge(arguments, results, timed_out, console, log)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
