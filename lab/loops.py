"""Loop devices that outlive their host: they belong to the machine's kernel, and the file beneath them to the host."""

from __future__ import annotations

import json
import time
from pathlib import Path

from lab.errors import run

UNMOUNT_LIMIT = 5.0  # seconds


def detach_orphans() -> None:
    """Detach the loop devices whose file lay on a file system (FUSE, tmpfs) that died with its host.

    The kernel can say nothing of a file whose FUSE daemon is gone; otherwise, such a file system has a device number of
    major 0, and is mounted in no living mount namespace any more.
    """
    mounted = _mounted()
    listing = run("losetup", "--list", "--json", "--output", "NAME,BACK-MAJ:MIN")
    for entry in json.loads(listing)["loopdevices"] if listing else ():
        device, backing = entry["name"], (entry["back-maj:min"] or "").strip()
        if not backing or (backing.startswith("0:") and backing not in mounted):
            run("losetup", "--detach", device)


def await_unmounted(numbers: set[str]) -> None:
    """Wait until the file systems of these device numbers are mounted nowhere: a dead namespace's go with a delay.

    Gives up after some seconds, since the kernel may have given a number to another file system meanwhile.
    """
    deadline = time.monotonic() + UNMOUNT_LIMIT
    while numbers & _mounted() and time.monotonic() < deadline:
        time.sleep(0.05)


def mount_namespace(pid: int) -> str | None:
    """Name of a process's mount namespace; None when the process ended, or is a kernel thread."""
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
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
        namespace = mount_namespace(int(process.name))
        if namespace not in seen and (found := devices(int(process.name))):
            seen.add(namespace)
            numbers |= found
    return numbers
