"""Spare disks of nodes, for OSDs: sparse files behind loop devices, which outlive a loss of the node's power."""

from __future__ import annotations

import json
from pathlib import Path

from lab.cluster import Cluster
from lab.errors import run, succeeds


def directory(cluster: Cluster, node: str) -> Path:
    """Where the files of a node's disks are: by this, the node tells its disks from those of others."""
    return cluster.state / node / "disks"


def add(cluster: Cluster, node: str, size: int) -> str:
    """Give a node one more empty disk of ``size`` bytes; the path of its device."""
    place = directory(cluster, node)
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"disk{len(list(place.iterdir()))}.img"
    with file.open("wb") as image:
        image.truncate(size)
    return run("losetup", "--find", "--show", str(file)).strip()


def devices(cluster: Cluster) -> dict[str, Path]:
    """The disks of all nodes of a cluster: the file behind each device."""
    listed = run("losetup", "--list", "--json", "--output", "NAME,BACK-FILE")
    rows = json.loads(listed or "{}").get("loopdevices", ())
    found = {row["name"]: Path((row["back-file"] or "").removesuffix(" (deleted)")) for row in rows}
    return {name: file for name, file in sorted(found.items()) if file.is_relative_to(cluster.state)}


def remove_all(cluster: Cluster) -> None:
    """Take the devices away, with their partitions, which the kernel would keep otherwise."""
    for device in devices(cluster):
        succeeds(["partx", "--delete", device])
        succeeds(["losetup", "--detach", device])
