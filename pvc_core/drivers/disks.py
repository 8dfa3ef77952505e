"""The whole disks of this machine, by ``lsblk`` and ``wipefs``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pvc_core.drivers.command import run
from pvc_core.errors import Conflict, DriverError, NotFound
from pvc_core.model.storage import Device

# ``lsblk`` calls these disks too. The first two are Ceph's and the network's own, and not this node's.
_NO_DISKS = re.compile(r"(rbd|nbd|zram|ram|fd|sr)\d")
_COLUMNS = "NAME,PATH,TYPE,SIZE,MODEL,VENDOR,SERIAL,ROTA,MOUNTPOINTS"

UNREADABLE = "unreadable"

Row = Mapping[str, Any]


def disks(loop_files: str = "") -> list[Device]:
    """Every disk that could carry an OSD, with what it holds. Loop devices count when their file lies below
    ``loop_files``."""
    listed = json.loads(run(["lsblk", "--json", "--bytes", "--output", _COLUMNS]))["blockdevices"]
    rows = [row for row in listed if _is_disk(row) or (loop_files and _is_loop(row, loop_files))]
    return sorted((device(row, signatures) for row in rows), key=lambda disk: disk.path)


def find_disk(path: str, known: list[Device]) -> Device:
    """The disk of this path, which may be a link to it. Raises NotFound naming those there are."""
    real = str(Path(path).resolve())
    found = next((disk for disk in known if disk.path == real), None)
    if found is None:
        raise NotFound(f"{path} is no disk of this node; there are {', '.join(disk.path for disk in known) or 'none'}")
    return found


def empty_disk(path: str, known: list[Device]) -> Device:
    """The same. Raises Conflict when something is on it."""
    found = find_disk(path, known)
    if found.holds:
        raise Conflict(f"{path} is not empty, it holds {found.holds}: wipe it first, or take another disk")
    return found


def device(row: Row, read: Callable[[str], list[str]]) -> Device:
    """A disk as ``lsblk`` lists it; ``read`` tells the signatures on one whose use the kernel does not know."""
    return Device(
        path=row["path"],
        size=int(row["size"]),
        model=" ".join(word.strip() for word in (row["vendor"], row["model"]) if word and word.strip()),
        serial=row["serial"] or "",
        rotational=bool(row["rota"]),
        holds=_use(row) or _signature(read(row["path"])),
    )


def signatures(path: str) -> list[str]:
    """What can be told of a disk's or partition's content by its first and last bytes."""
    try:
        text = run(["wipefs", "--no-act", "--json", path])
    except DriverError:
        return [UNREADABLE]  # the kernel keeps it for somebody else
    return list(dict.fromkeys(found["type"] for found in json.loads(text or "{}").get("signatures", ())))


def _is_disk(row: Row) -> bool:
    return row["type"] == "disk" and int(row["size"]) > 0 and not _NO_DISKS.match(row["name"])


def _is_loop(row: Row, directory: str) -> bool:
    backing = Path("/sys/block", row["name"], "loop/backing_file")
    return row["type"] == "loop" and backing.exists() and Path(backing.read_text().strip()).is_relative_to(directory)


def _use(row: Row) -> str:
    """What the kernel uses a disk for, as far as ``lsblk`` tells; empty for nothing."""
    for mounted in filter(None, row["mountpoints"]):
        return f"what is mounted at {mounted}"
    return ", ".join(child["name"] for child in row.get("children") or ())


def _signature(found: list[str]) -> str:
    return f"data ({', '.join(found)})" if found else ""
