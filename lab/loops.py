"""Loop devices that outlive their host: they belong to the machine's kernel, and the file beneath them to the host."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import succeeds

UNMOUNT_LIMIT = 5.0  # seconds
ANSWER_LIMIT = 1.0  # seconds for a FUSE daemon that is asked about a file


def detach_orphans() -> None:
    """Detach the loop devices whose file lay on a file system (FUSE, tmpfs) that died with its host.

    The kernel can say nothing of a file whose FUSE daemon is gone; otherwise, such a file system has a device number of
    major 0, and is mounted in no living mount namespace any more. A paused daemon says nothing either, and is left
    alone.
    """
    mounted = _mounted()
    for device in Path("/sys/block").glob("loop*/loop"):
        name = f"/dev/{device.parent.name}"
        with suppress(subprocess.TimeoutExpired):
            backing = _backing(name)
            if not backing or (backing.startswith("0:") and backing not in mounted):
                succeeds(["losetup", "--detach", name])  # another may have done it meanwhile


def _backing(device: str) -> str:
    """Device number of the file system that a loop device's file is on; empty when the kernel cannot say."""
    argv = ["losetup", "--list", "--noheadings", "--output", "BACK-MAJ:MIN", device]
    return subprocess.run(argv, capture_output=True, text=True, timeout=ANSWER_LIMIT).stdout.strip()


def await_unmounted(numbers: set[str]) -> None:
    """Wait until the file systems of these device numbers are mounted nowhere: a dead namespace's go with a delay.

    Gives up after some seconds, since the kernel may have given a number to another file system meanwhile.
    """
    deadline = time.monotonic() + UNMOUNT_LIMIT
    while numbers & _mounted() and time.monotonic() < deadline:
        time.sleep(0.05)


def namespace(pid: int, kind: str) -> str | None:
    """Name of a process's namespace of a kind (mnt, pid); None when the process ended, or is a kernel thread."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return None


def devices(pid: int) -> set[str]:
    """Device number (major:minor) of each file system that a process sees mounted; none when it ended."""
    try:
        return {line.split()[2] for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()}
    except OSError:
        return set()


def _mounted() -> set[str]:
    """Device numbers of the file systems that are mounted for any process of the machine."""
    numbers: set[str] = set()
    seen: set[str | None] = {None}
    for process in Path("/proc").glob("[0-9]*"):
        mounts = namespace(int(process.name), "mnt")
        if mounts not in seen and (found := devices(int(process.name))):
            seen.add(mounts)
            numbers |= found
    return numbers
