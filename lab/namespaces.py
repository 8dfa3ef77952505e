"""Hosts: sets of namespaces that live and die as one, as a server does with its power."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lab import loops, network
from lab.cluster import Cluster
from lab.errors import LabError, run, succeeds
from lab.service import Service

# Every process of a host carries this variable, CLUSTER/HOST; so what belongs to the laboratory is asked of the kernel.
MARK = "PVC_LAB_HOST"
CHECKOUT = Path(__file__).resolve().parent.parent
SERVICES = "/run/service"

# What a host has of its own on disk, which outlives a loss of power. All else it shares with this machine, read-only by
# convention; /run, /tmp and /dev/shm are its own and go with it.
PRIVATE_DIRECTORIES = (
    "/etc/pvc",
    "/etc/ceph",
    "/etc/libvirt",
    "/var/lib/pvc",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log",
)
PRIVATE_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd", "/etc/group")

# libvirtd refuses to start without this user, even where it is told to run machines as root. Debian makes it in a
# package that would also start a libvirtd of the machine's own.
QEMU_USER = "libvirt-qemu"
QEMU_ID = 64055

_found: dict[str, int] = {}  # the init of each mark as it was found last: to look through all processes takes time


def environment(cluster: Cluster, host: str) -> dict[str, str]:
    """Environment of a host's processes; nothing of the caller's leaks in."""
    return {
        MARK: f"{cluster.name}/{host}",
        "PATH": f"{sys.prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(CHECKOUT),
        "SVDIR": SERVICES,
    }


def create_mount_points(record: Path) -> None:
    """Make those of the private directories that this machine lacks, and note them in ``record`` for their removal."""
    for directory in map(Path, PRIVATE_DIRECTORIES):
        missing = [path for path in (directory, *directory.parents) if not path.exists()]
        if missing:
            directory.mkdir(parents=True)
            with record.open("a") as made:
                made.writelines(f"{path}\n" for path in missing)


def remove_mount_points(record: Path) -> None:
    """Remove the directories that ``create_mount_points`` made, as far as they are empty. No host may be running."""
    for directory in record.read_text().split() if record.exists() else ():
        succeeds(["rmdir", directory])
    record.unlink(missing_ok=True)


def start(cluster: Cluster, host: str, services: Sequence[Service], *, hold: Sequence[str] = ()) -> None:
    """Start a host with its services under runit, except those in ``hold``, which wait for ``release``.

    Returns once the host has booted as far as its supervisor. Raises LabError with the reason when it does not.
    """
    network.connect(cluster, host)
    root = cluster.root(host)
    for directory in PRIVATE_DIRECTORIES:
        (root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
    _write_identity(cluster, host)
    for service in services:
        service.install(root)
        _write_service(cluster, host, service, held=service.name in hold)
    script = cluster.state / host / "boot.sh"
    script.write_text(_boot_script(cluster, host))
    boot_log = cluster.state / host / "boot.log"
    with boot_log.open("wb") as log:
        process = subprocess.Popen(
            [
                "nsenter", f"--net={network.NAMESPACES / network.namespace(cluster, host)}",
                "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "/bin/sh", str(script),
            ],
            env=environment(cluster, host), cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    while not _has_booted(cluster, host):
        if process.poll() is not None:
            raise LabError(f"{host} did not boot: {boot_log.read_text().strip()}")
        time.sleep(0.05)


def release(cluster: Cluster, host: str) -> None:
    """Start the services that were held back."""
    held = f"for file in {SERVICES}/*/down; do [ -e $file ] || continue; rm $file; sv up $(dirname $file); done"
    run(*enter(cluster, host, ["sh", "-c", held]))


def _has_booted(cluster: Cluster, host: str) -> bool:
    """Whether a host's init is the one that its boot script ends with."""
    pid = running(cluster).get(host)
    try:
        return pid is not None and Path(f"/proc/{pid}/comm").read_text().strip() == "tini"
    except OSError:
        return False  # it ended meanwhile


def enter(cluster: Cluster, host: str, argv: Sequence[str]) -> list[str]:
    """Command that runs ``argv`` inside a host. Raises LabError when the host is not running."""
    pid = _init(cluster, host)
    variables = [f"{name}={value}" for name, value in environment(cluster, host).items()]
    terminal = [f"TERM={os.environ['TERM']}"] if "TERM" in os.environ else []
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid"]
    return ["nsenter", f"--target={pid}", *namespaces, "--wd=/root", "env", "-i", *variables, *terminal, *argv]


def running(cluster: Cluster) -> dict[str, int]:
    """The hosts that run, each with the process id of its init."""
    return {host: pid for pid, host in processes(cluster) if _is_init(pid)}


def kill(cluster: Cluster, host: str) -> None:
    """Take a host's power away: the network first, so that nobody hears it die, then every process at once."""
    pid = running(cluster).get(host)
    network.disconnect(cluster, host)
    if pid is not None:
        _kill_host(pid)
    loops.detach_orphans()


def kill_all(cluster: Cluster) -> None:
    """End every process that belongs to the cluster, half-started ones too."""
    for pid in running(cluster).values():
        _kill_host(pid)
    while left := list(processes(cluster)):
        for pid, _ in left:
            kill_process(pid)


def kill_bmc(cluster: Cluster, node: str) -> None:
    """End every process of a node's BMC, those included that are about to switch the node."""
    while left := [pid for pid, end in processes(cluster) if end == cluster.bmc(node)]:
        for pid in left:
            kill_process(pid)


def arguments(pid: int) -> list[str]:
    """The words of a process's command line; none when it ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def pause(cluster: Cluster, host: str) -> None:
    """Stop every process of a host, as a hanging operating system or a paused hypervisor does; its cables stay in."""
    init = _init(cluster, host)
    stopped: set[int] = set()
    while new := _members(init) - stopped:  # one that was not stopped yet may have forked meanwhile
        _signal(new, signal.SIGSTOP)
        stopped |= new


def resume(cluster: Cluster, host: str) -> None:
    """Let every process of a host go on where it was stopped."""
    _signal(_members(_init(cluster, host)), signal.SIGCONT)


def is_paused(cluster: Cluster, host: str) -> bool:
    return _status(_init(cluster, host), "State").split()[0] == "T"


def _init(cluster: Cluster, host: str) -> int:
    """Process id of a host's init. Raises LabError when the host is not running."""
    mark = f"{cluster.name}/{host}"
    pid = _found.get(mark)
    if pid is None or _mark(pid) != mark or not _is_init(pid):
        pid = running(cluster).get(host)
        if pid is None:
            raise LabError(f"host {host} of cluster {cluster.name} is not running")
        _found[mark] = pid
    return pid


def _members(init: int) -> set[int]:
    """The processes in the process namespace of a host's init."""
    own = loops.namespace(init, "pid")
    pids = (int(process.name) for process in Path("/proc").glob("[0-9]*"))
    return {pid for pid in pids if own and loops.namespace(pid, "pid") == own}


def _signal(pids: Collection[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _kill_host(init: int) -> None:
    """Kill a host's init, thereby all in its process namespace, and then who entered the host from outside."""
    mounts = loops.namespace(init, "mnt")
    devices = loops.devices(init) - loops.devices(os.getpid())
    kill_process(init)
    for process in Path("/proc").glob("[0-9]*"):
        if mounts and loops.namespace(int(process.name), "mnt") == mounts:
            kill_process(int(process.name))
    loops.await_unmounted(devices)


def processes(cluster: Cluster | None = None) -> Iterator[tuple[int, str]]:
    """Process id and host of each process that carries the cluster's mark, or that of any cluster."""
    for process in Path("/proc").glob("[0-9]*"):
        name, _, host = _mark(int(process.name)).partition("/")
        if name and (cluster is None or name == cluster.name):
            yield int(process.name), host


def _mark(pid: int) -> str:
    """The mark that a process carries, CLUSTER/HOST; empty when it has none, or ended."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return ""
    return next((value for name, _, value in (each.partition("=") for each in variables) if name == MARK), "")


def _is_init(pid: int) -> bool:
    """Whether a process is the first of a process namespace beneath ours."""
    try:
        ids = _status(pid, "NSpid").split()
    except (FileNotFoundError, ProcessLookupError):
        return False  # it ended meanwhile
    return len(ids) > 1 and ids[-1] == "1"


def _status(pid: int, key: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return line.partition(":")[2]
    return ""


def kill_process(pid: int, timeout: float = 15.0) -> None:
    """Kill a process and wait until it is gone; that of an init includes all processes of its namespace."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], timeout)[0]:
            raise LabError(f"process {pid} does not end, {timeout:g} s after it was killed")
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _write_identity(cluster: Cluster, host: str) -> None:
    etc = cluster.root(host) / "etc"
    names = [f"{cluster.address(other, 'cluster')} {other}" for other in cluster.hosts]
    (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
    (etc / "hostname").write_text(host + "\n")
    accounts = {"passwd": f"x:{QEMU_ID}:{QEMU_ID}::/nonexistent:/usr/sbin/nologin", "group": f"x:{QEMU_ID}:"}
    for name, account in accounts.items():
        entries = Path("/etc", name).read_text()
        known = any(entry.startswith(f"{QEMU_USER}:") for entry in entries.splitlines())
        (etc / name).write_text(entries if known else f"{entries}{QEMU_USER}:{account}\n")
    (etc / "resolv.conf").write_text("")  # a name server that nobody answers for would cost ten seconds a look-up


def _write_service(cluster: Cluster, host: str, service: Service, *, held: bool) -> None:
    directory = cluster.state / host / "service" / service.name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "start").write_text(service.script())
    command = shlex.join(service.command(f"{SERVICES}/{service.name}/start"))
    (directory / "run").write_text(f"#!/bin/sh\nexec >>/var/log/{service.name}.log 2>&1\nexec {command}\n")
    (directory / "run").chmod(0o755)
    (directory / "down").unlink(missing_ok=True)
    if held:
        (directory / "down").touch()


def _boot_script(cluster: Cluster, host: str) -> str:
    """What turns fresh namespaces into a host: its own file systems, then tini and runit for good."""
    state = shlex.quote(str(cluster.state / host))
    lines = [
        "#!/bin/sh",
        "set -eu",
        f"hostname {host}",
        # The checkout, the virtual environment or the state may lie in /tmp or /run, which are covered in a moment.
        f"exec 7<{shlex.quote(str(CHECKOUT))} 8<{shlex.quote(sys.prefix)} 9<{shlex.quote(str(cluster.state))}",
        "umount --recursive /sys",
        "mount -t sysfs sysfs /sys",
        "mount -t proc proc /proc",
        "mount -t tmpfs -o mode=755 tmpfs /run",
        "mount -t tmpfs -o mode=1777 tmpfs /tmp",
        "mount -t tmpfs -o mode=1777 tmpfs /dev/shm",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /dev/pts",
    ]
    for descriptor, covered in ((7, CHECKOUT), (8, Path(sys.prefix)), (9, cluster.state)):
        if covered.parts[1] in ("tmp", "run"):
            quoted = shlex.quote(str(covered))
            lines.append(f"mkdir -p {quoted} && mount --no-canonicalize --bind /proc/self/fd/{descriptor} {quoted}")
    lines.append("exec 7<&- 8<&- 9<&-")
    lines += [f"mount --bind {state}/root{path} {path}" for path in PRIVATE_DIRECTORIES]
    for path in PRIVATE_FILES:
        # Where the file is a symbolic link, what it leads to may have been covered.
        lines.append(f'target=$(readlink -m {path}); mkdir -p "$(dirname "$target")"; [ -e "$target" ] || : >"$target"')
        lines.append(f'mount --bind {state}/root{path} "$target"')
    lines += [
        "mkdir -p /run/lock /run/libvirt /var/lib/pvc/spool /var/log/pvc/console",
        "cat /proc/sys/kernel/random/uuid >/run/boot-id",
        f"cp -r {state}/service {SERVICES}",
        f"exec tini -- runsvdir -P {SERVICES}",
    ]
    return "\n".join(lines) + "\n"
