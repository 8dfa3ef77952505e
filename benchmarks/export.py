"""An export beside ``rbd export`` to the same directory. ``python -m benchmarks.export CEPH.CONF DIRECTORY`` is one
export in a process of its own, whose memory is measured."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import rados
import rbd

from benchmarks.figures import Figure, Goal, from_samples
from lab.local import LocalServices
from pvc_core.config import CephConfig
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.model.manifest import Manifest
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.transfer import backup

POOL, IMAGE = "vms", "disk"
SIZE = 2 << 30  # bytes, of which every other stretch is written: half with what does not compress
STRETCH = 32 << 20
OBJECT = 4 << 20
CHANGED = SIZE // 100
PIECE = 64 << 10  # bytes of each change
RUNS = 3
RATIO = 1.3  # of the time of ``rbd export``
MEMORY = 150.0  # MB


def figures() -> Iterator[Figure]:
    with (
        LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True) as services,
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".export-") as directory,
    ):
        config = services.ceph_config
        _fill(config)
        whole = [_both(config, Path(directory), "s1", "") for _ in range(RUNS)]
        difference = [_both(config, Path(directory), "s2", "s1") for _ in range(RUNS)]
    for what, runs in (("a whole disk of 2 GiB, half written", whole), ("a difference of 1 %", difference)):
        ours, theirs = [ours for ours, _, _ in runs], [theirs for _, theirs, _ in runs]
        command = "rbd export" if runs is whole else "rbd export-diff"
        limit = sorted(theirs)[len(theirs) // 2]
        yield from_samples(f"export of {what}; limit: {command} and sync", "s", ours, Goal(RATIO * limit), theirs)
        yield from_samples("  memory of the process", "MB", [memory for _, _, memory in runs], Goal(MEMORY, of="worst"))


def _fill(config: Path) -> None:
    blocks = CephBlockStore(CephConfig(config_file=str(config)))
    blocks.create_pool(POOL, 8, 1, 1, "default")
    blocks.create(POOL, IMAGE, SIZE)
    blocks.close()
    with (
        rados.Rados(conffile=str(config)) as cluster,
        cluster.open_ioctx(POOL) as context,
        rbd.Image(context, IMAGE) as image,
    ):
        for offset in range(0, SIZE, 2 * STRETCH):
            for place in range(offset, offset + STRETCH, OBJECT):
                image.write(os.urandom(OBJECT), place)
        image.create_snap("s1")
        for number in range(CHANGED // PIECE):
            image.write(os.urandom(PIECE), number * (SIZE // (CHANGED // PIECE)) // PIECE * PIECE)
        image.create_snap("s2")


def _both(config: Path, directory: Path, snapshot: str, parent: str) -> tuple[float, float, float]:
    """Seconds of our export and of Ceph's, one after the other, and megabytes of ours."""
    output = directory / "rbd"

    def export() -> None:
        since = ("export-diff", "--from-snap", parent) if parent else ("export",)
        command = ("rbd", "-c", str(config), *since, "--no-progress", f"{POOL}/{IMAGE}@{snapshot}", str(output))
        subprocess.run(command, check=True, capture_output=True)
        _sync(output)

    theirs = _timed(export)
    output.unlink()
    argv = [sys.executable, "-m", "benchmarks.export", str(config), str(directory / "ours"), snapshot, parent]
    answer = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    shutil.rmtree(directory / "ours")
    return answer["seconds"], theirs, answer["memory"]


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def _child(config: str, directory: str, snapshot: str, parent: str) -> None:
    blocks = CephBlockStore(CephConfig(config_file=config))
    taken = VmSnapshot("", snapshot, 0.0, Quiesced.OFF, (SnapshotDisk(f"{POOL}/{IMAGE}", SIZE),))
    manifest = Manifest("", VmConfig("bench", ""), taken, (), parent)
    parent_disks = (f"{POOL}/{IMAGE}",) if parent else ()
    blocks.pools()  # connected, like a worker

    def export() -> None:
        backup.data_size(blocks, manifest, parent_disks)
        target = DirectoryTarget(directory)
        written = backup.write_disks(
            target, "", manifest, parent_disks, blocks, moved=lambda _: None, cancelled=lambda: False
        )
        backup.write_manifest(target, "", written)

    seconds = _timed(export)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"seconds": seconds, "memory": memory}))
    blocks.close()


if __name__ == "__main__":
    _child(*sys.argv[1:])
