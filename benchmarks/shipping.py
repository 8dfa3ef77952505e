"""A machine's snapshot to another cluster, beside ``rbd export-diff | rbd import-diff`` between the same two."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import Figure, Goal, from_samples
from lab.site import POOL, Site

SIZE = 4 << 30  # bytes, of which every other stretch is written: half with what does not compress
STRETCH = 32 << 20
OBJECT = 4 << 20
CHANGED = SIZE // 100
PIECE = 64 << 10  # bytes of each change
RUNS = 3
EMPTY = 256 << 20  # bytes that a pool may hold before the next run: Ceph removes what snapshots held in its own time
RATIO = 1.5  # of the time of Ceph's own commands
MEMORY = 150.0  # MB


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="pvc-bench-") as directory:
        west = Site(Path(directory) / "west", tls=False, memory_gib=8)
        try:
            east = Site(Path(directory) / "east", tls=False, memory_gib=8)
            try:
                yield from _measure(east, west)
            finally:
                east.close()
        finally:
            west.close()


def _measure(east: Site, west: Site) -> Iterator[Figure]:
    assert east.ask("POST", "peers", json={"name": "west", "api_uri": west.uri, "token": west.token}).ok
    whole, difference = [], []
    for number in range(RUNS):
        name = f"vm{number}"
        disk = f"{name}_disk0"
        east.define(str(uuid.uuid4()), name, (SIZE,))
        _fill(east, disk)
        _snapshot(east, name, "s1")
        whole.append((_shipped(east, name, "s1", ""), _piped(east, west, disk, "s1", "")))
        _change(east, disk)
        _snapshot(east, name, "s2")
        difference.append((_shipped(east, name, "s2", "s1"), _piped(east, west, disk, "s2", "s1")))
        _empty(west, disk, f"{disk}-beside")
        _empty(east, disk)
    for what, runs in ((f"a whole disk of {SIZE >> 30} GiB, half written", whole), ("a difference of 1 %", difference)):
        ours, theirs = [ours for ours, _ in runs], [theirs for _, theirs in runs]
        goal = Goal(RATIO * sorted(theirs)[len(theirs) // 2])
        yield from_samples(f"shipping of {what}; limit: rbd export-diff | rbd import-diff", "s", ours, goal, theirs)
    for what, site, process in (("sender", east, "bulk"), ("receiver", west, "web")):
        memory = [_peak(pid) for pid in site.pids(process)]
        yield from_samples(f"  memory of the {what}", "MB", [max(memory)], Goal(MEMORY, of="worst"))


def _fill(site: Site, disk: str) -> None:
    with site.blocks.open(POOL, disk, writable=True) as image:
        for offset in range(0, SIZE, 2 * STRETCH):
            for place in range(offset, offset + STRETCH, OBJECT):
                image.write(place, os.urandom(OBJECT))


def _change(site: Site, disk: str) -> None:
    with site.blocks.open(POOL, disk, writable=True) as image:
        count = CHANGED // PIECE
        for number in range(count):
            image.write(number * (SIZE // count) // PIECE * PIECE, os.urandom(PIECE))


def _snapshot(site: Site, machine: str, name: str) -> None:
    task = site.do("POST", f"vm/{machine}/snapshot", params={"snapshot_name": name})
    assert task["state"] == "SUCCESS", task


def _shipped(site: Site, machine: str, name: str, parent: str) -> float:
    """Seconds of the task."""
    arguments = {"snapshot_name": name, "peer": "west", "incremental_parent": parent}
    task = site.do("POST", f"vm/{machine}/snapshot/send", params=arguments)
    assert task["state"] == "SUCCESS", task
    return float(task["duration"])


def _piped(east: Site, west: Site, disk: str, name: str, parent: str) -> float:
    """Seconds of Ceph's own way, into an image beside."""
    if not parent:
        _rbd(west, "create", "--size", f"{SIZE}B", f"{POOL}/{disk}-beside")
    since = ("--from-snap", parent) if parent else ()
    source = ("rbd", "-c", str(east.services.ceph_config), "export-diff", "--no-progress", *since)
    began = time.monotonic()
    with subprocess.Popen((*source, f"{POOL}/{disk}@{name}", "-"), stdout=subprocess.PIPE) as sender:
        command = ("rbd", "-c", str(west.services.ceph_config), "import-diff", "--no-progress", "-")
        subprocess.run((*command, f"{POOL}/{disk}-beside"), stdin=sender.stdout, check=True)
    return time.monotonic() - began


def _empty(site: Site, *volumes: str) -> None:
    """Remove these, and wait until Ceph has the room again."""
    for volume in volumes:
        _rbd(site, "snap", "purge", f"{POOL}/{volume}")
        _rbd(site, "rm", f"{POOL}/{volume}")
    deadline = time.monotonic() + 300.0
    while (held := site.blocks.pools()[POOL].stored_bytes) > EMPTY:
        assert time.monotonic() < deadline, f"pool {POOL} still holds {held} bytes"
        time.sleep(0.5)  # Ceph's figures are some seconds old anyway


def _rbd(site: Site, *arguments: str) -> None:
    subprocess.run(("rbd", "-c", str(site.services.ceph_config), *arguments), check=True, capture_output=True)


def _peak(pid: int) -> float:
    """The most memory that a process had, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
