"""For how long a machine with four disks stands still when it is snapshot while it writes."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import Figure, Goal, from_samples
from benchmarks.lab import running
from lab.drive import Driver
from lab.writer import define, pattern_disks

POOL, NAME = "snapshots", "writer"
RUNS = 20
STANDSTILL = 500.0  # milliseconds
LOAD_MIB, LOAD_KIB = 256, 2048  # of what the guest writes beside the pattern, each second and in all


def figures() -> Iterator[Figure]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pvc-bench-"))
        os.environ["PVC_CLIENT_DIR"] = directory  # the user's own connections stay as they are
        user = Driver(stack.enter_context(running())[0])
        user.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
        for name, agent in ((NAME, False), (f"{NAME}-agent", True)):
            define(user, Path(directory), f"{POOL}/{name}", agent=agent, load=(LOAD_MIB, LOAD_KIB))
            disk = f"{POOL}/{name}"
            volumes = (disk, *pattern_disks(disk), f"{disk}-load")
            runs = [_measured(user, name, number, volumes) for number in range(RUNS)]
            whole, still, ceph = zip(*runs, strict=True)
            how = "its agent freezes it" if agent else "without an agent"
            what = f"a snapshot of a machine that writes on 4 disks, {how}"
            yield from_samples(f"{what}: it stands still", "ms", still, Goal(STANDSTILL, of="worst"), ceph)
            yield from_samples("  the whole task; limit of both: rbd snap create for all of them at once", "ms", whole)
            user.pvc("vm", "stop", name, "-y")


def _measured(user: Driver, name: str, number: int, volumes: tuple[str, ...]) -> tuple[float, float, float]:
    """Milliseconds of the task, of the standing still in it, and of Ceph's own snapshots."""
    answer = user.api("POST", f"/vm/{name}/snapshot?snapshot_name=s{number}")
    while (task := user.api("GET", f"/tasks/{answer['task_id']}?wait=1"))["state"] in ("PENDING", "RUNNING"):
        pass
    if task["state"] != "SUCCESS":
        raise RuntimeError(task["status"])
    commands = " & ".join(f"rbd snap create --no-progress {volume}@beside{number}" for volume in volumes)
    node = user.vm(name)["node"]
    began = time.monotonic()
    user.on_host(node, "sh", "-c", f"{commands} & wait")
    ceph = 1000 * (time.monotonic() - began)
    return 1000 * task["duration"], task["result"]["standstill_ms"], ceph
