"""GPT partitions, by ``sfdisk`` and ``partx``.

The kernel is told of each change by ``partx`` alone: to have it read the whole table again would be refused while one
of the partitions is in use, and does nothing where the kernel cannot read GPT.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pvc_core.drivers.command import run
from pvc_core.drivers.disks import signatures
from pvc_core.errors import DriverError

MIB = 1024**2
EDGES = 2 * MIB  # of a disk, for the two copies of its table
_QUIETLY = ("--no-reread", "--no-tell-kernel", "--quiet")


@dataclass(frozen=True, slots=True)
class Partition:
    path: str
    disk: str
    number: int
    size: int  # bytes
    name: str


def partitions(disk: str) -> list[Partition]:
    """The partitions of a disk; none when it has no table."""
    if "gpt" not in signatures(disk):
        return []
    table = json.loads(run(["sfdisk", "--json", disk]))["partitiontable"]
    return [
        Partition(
            path=row["node"],
            disk=disk,
            number=int(row["node"].removeprefix(disk).lstrip("p")),
            size=row["size"] * table["sectorsize"],
            name=row.get("name", ""),
        )
        for row in table.get("partitions", ())
    ]


def create(disk: str, sizes: Sequence[int], kind: str, name: str) -> list[Partition]:
    """Give a disk a new table with partitions of these sizes in bytes, each of the type ``kind`` (a GUID)."""
    run(["sfdisk", *_QUIETLY, disk], given="label: gpt\n" + "".join(_line(size, kind, name) for size in sizes))
    run(["partx", "--update", disk])
    return partitions(disk)


def append(disk: str, size: int, kind: str, name: str) -> Partition:
    """Add a partition where there is room. Raises DriverError where there is none."""
    before = {partition.number for partition in partitions(disk)}
    run(["sfdisk", *_QUIETLY, "--append", disk], given=_line(size, kind, name))
    run(["partx", "--update", disk])
    added = [partition for partition in partitions(disk) if partition.number not in before]
    if not added:
        raise DriverError(f"{disk} has no new partition, though sfdisk made one")
    return added[0]


def delete(partition: Partition) -> None:
    """Wipe what tells what a partition held, and remove it. The last one takes the table with it."""
    run(["wipefs", "--all", "--quiet", partition.path])
    wiped = f"count={min(10, partition.size // MIB)}"
    run(["dd", "if=/dev/zero", f"of={partition.path}", "bs=1M", wiped, "conv=fsync,notrunc", "status=none"])
    run(["partx", "--delete", "--nr", str(partition.number), partition.disk])
    run(["sfdisk", *_QUIETLY, "--delete", partition.disk, str(partition.number)])
    if not partitions(partition.disk):
        run(["wipefs", "--all", "--quiet", partition.disk])


def _line(size: int, kind: str, name: str) -> str:
    return f'size={size // MIB}MiB, type={kind}, name="{name}"\n'
