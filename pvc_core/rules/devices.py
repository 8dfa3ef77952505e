"""Which disk of a node is meant: by its path, or by a description such as ``detect:INTEL:800GB:1``.

A description names a part of the vendor and model, the size as the maker writes it, and which of the disks that are
like this it is, counted from 0 in the order of their paths. So one description fits every node of the same make,
whatever name the kernel gave to the disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pvc_core.errors import BadRequest, NotFound
from pvc_core.model.storage import Device

PREFIX = "detect:"
TOLERANCE = 0.03  # of the size: makers round, and some count in powers of 1024

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP])(i?)B?", re.IGNORECASE)
_POWERS = {unit: power for power, unit in enumerate("KMGTP", start=1)}


@dataclass(frozen=True, slots=True)
class Description:
    name: str
    size: float  # bytes
    number: int


def is_description(device: str) -> bool:
    return device.startswith(PREFIX)


def parse(text: str) -> Description:
    """Raises BadRequest saying what a description looks like."""
    parts = text.removeprefix(PREFIX).split(":")
    size = _SIZE.fullmatch(parts[1]) if len(parts) == 3 else None
    if not is_description(text) or size is None or not parts[0] or not parts[2].isdecimal():
        raise BadRequest(
            f"{text!r} describes no disk: write detect:NAME:SIZE:ID, with a part of the model or vendor, the size as "
            "in 800GB, and which of such disks it is, from 0"
        )
    base = 1024 if size[3] else 1000
    return Description(parts[0], float(size[1]) * base ** _POWERS[size[2].upper()], int(parts[2]))


def check(device: str) -> None:
    """Raise BadRequest for what is neither a path of a device nor a description of one."""
    if is_description(device):
        parse(device)
    elif not device.startswith("/dev/"):
        raise BadRequest(f"{device!r} is no device: give a path below /dev, or detect:NAME:SIZE:ID")


def resolve(device: str, disks: Sequence[Device]) -> str:
    """The path of the disk that is meant. A path is answered as it is. Raises NotFound naming the disks there are."""
    if not is_description(device):
        return device
    wanted = parse(device)
    like = sorted((disk for disk in disks if _fits(disk, wanted)), key=lambda disk: _natural(disk.path))
    if wanted.number < len(like):
        return like[wanted.number].path
    there = ", ".join(f"{disk.path} ({disk.model or 'no model'}, {disk.size} bytes)" for disk in disks) or "none"
    raise NotFound(f"{device} fits {len(like)} disks, and number {wanted.number} is not among them; there are {there}")


def _fits(disk: Device, wanted: Description) -> bool:
    return wanted.name.lower() in disk.model.lower() and abs(disk.size - wanted.size) <= TOLERANCE * wanted.size


def _natural(path: str) -> tuple[tuple[int, str], ...]:
    """Orders ``sdz`` before ``sdaa``, and ``nvme2n1`` before ``nvme10n1``."""
    return tuple((len(part), part) for part in re.findall(r"\d+|\D+", path))
