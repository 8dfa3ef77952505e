"""OSDs on partitions, each a BlueStore made by ``ceph-osd --mkfs``: for kernels that have no LVM.

A partition's label says whose it is, so an OSD is found again wherever its disk turns up. The databases of all OSDs of
a node lie on one disk, the database group, which is known by a small partition of a name of ours.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pvc_core.config import CephConfig
from pvc_core.drivers import partitions
from pvc_core.drivers.command import run
from pvc_core.drivers.disks import disks, empty_disk, find_disk, signatures
from pvc_core.drivers.osd_daemon import OsdDaemon, ceph_command
from pvc_core.drivers.partitions import EDGES, MIB, Partition
from pvc_core.errors import Conflict, NotFound
from pvc_core.model.storage import Device, Osd

log = logging.getLogger(__name__)

# Types of partitions as Ceph has always used them.
DATA = "4fbd7e29-9d25-41b8-afd0-062c0ceff05d"
DATABASE = "30cd0809-c2b2-499c-8879-2d6b78529876"
DATA_NAME = "pvc-osd"
GROUP_NAME = "pvc-osd-db"  # of the partition that makes a disk the database group
MKFS_TIMEOUT = 600.0  # seconds

Label = dict[str, Any]


class PartitionOsds:
    """See ``pvc_core.ports.Osds``."""

    def __init__(self, node: str, config: CephConfig) -> None:
        self._node = node
        self._config = config
        self._daemon = OsdDaemon(config.osd)
        self._ceph = ceph_command(config)

    def devices(self) -> list[Device]:
        return disks(self._config.osd.loop_files)

    def device(self, path: str) -> Device:
        return find_disk(path, self.devices())

    def create(self, device: str, count: int, db_device: str, db_size: int, report: Callable[[str], None]) -> list[Osd]:
        disk = empty_disk(device, self.devices())
        report(f"Partitioning {device}")
        size = (disk.size - EDGES) // count // MIB * MIB
        with ExitStack() as undo:
            undo.callback(self._clear, disk.path)
            made = []
            for number, partition in enumerate(partitions.create(disk.path, [size] * count, DATA, DATA_NAME), start=1):
                report(f"Making OSD {number} of {count} on {device}")
                made.append(self._make(undo, partition, None, db_device, db_size))
            undo.pop_all()
        return made

    def replace(self, osd: int, device: str, db_device: str, db_size: int, report: Callable[[str], None]) -> Osd:
        disk = empty_disk(device, self.devices())
        report(f"Partitioning {device}")
        with ExitStack() as undo:
            undo.callback(self._clear, disk.path)
            size = (disk.size - EDGES) // MIB * MIB
            partition = partitions.create(disk.path, [size], DATA, DATA_NAME)[0]
            report(f"Making OSD {osd} on {device}")
            made = self._make(undo, partition, osd, db_device, db_size)
            undo.pop_all()
        return made

    def activate(self, osd: int, device: str) -> Osd:
        disk = self.device(device)
        found = [(path, label) for path, label in self._labels(disk.path) if label.get("whoami") == str(osd)]
        if not found:
            raise NotFound(f"OSD {osd} does not lie on {device}")
        path, label = found[0]
        own = run([*self._ceph, "fsid"])
        if label.get("ceph_fsid") != own:
            raise Conflict(f"the OSD on {device} is one of the Ceph cluster {label.get('ceph_fsid')}, this is {own}")
        database = self._database(label["osd_uuid"])
        self._prime(osd, path, database.path if database else "")
        self._daemon.start(osd)
        return self._osd(disk.path, label, database)

    def stop(self, osd: int) -> None:
        self._daemon.stop(osd)

    def zap(self, osd: int) -> None:
        for disk in self.devices():
            for path, label in self._labels(disk.path):
                if label.get("whoami") != str(osd):
                    continue
                if database := self._database(label["osd_uuid"]):
                    partitions.delete(database)
                if path == disk.path:
                    run(["wipefs", "--all", "--quiet", path])
                else:
                    partitions.delete(next(each for each in partitions.partitions(disk.path) if each.path == path))
        shutil.rmtree(self._directory(osd), ignore_errors=True)

    def create_db_group(self, device: str) -> None:
        if there := self.db_group():
            raise Conflict(f"the databases of this node's OSDs go to {there} already")
        partitions.create(empty_disk(device, self.devices()).path, [MIB], DATABASE, GROUP_NAME)

    def db_group(self) -> str:
        for disk in self.devices():
            if any(partition.name == GROUP_NAME for partition in partitions.partitions(disk.path)):
                return disk.path
        return ""

    def present(self) -> Sequence[Osd]:
        found = [
            self._osd(disk.path, label, self._database(label["osd_uuid"]))
            for disk in self.devices()
            for _, label in self._labels(disk.path)
            if "whoami" in label
        ]
        return sorted(found, key=lambda osd: osd.id)

    def _make(self, undo: ExitStack, partition: Partition, osd: int | None, db_device: str, db_size: int) -> Osd:
        """One OSD on a partition, with the id ``osd`` if that is given, and its daemon. ``undo`` learns what to do."""
        identity, key = str(uuid.uuid4()), run(["ceph-authtool", "--gen-print-key"])
        database = self._add_database(undo, db_device, db_size, identity) if db_device else None
        wanted = [] if osd is None else [str(osd)]
        secrets = json.dumps({"cephx_secret": key})
        number = int(run([*self._ceph, "--in-file", "-", "osd", "new", identity, *wanted], given=secrets))
        undo.callback(self._unmake, number, keep_id=osd is not None)
        self._format(number, identity, key, partition.path, database.path if database else "")
        self._daemon.start(number)
        return self._osd(partition.disk, {"whoami": str(number), "osd_uuid": identity}, database)

    def _add_database(self, undo: ExitStack, disk: str, size: int, identity: str) -> Partition:
        database = partitions.append(disk, size, DATABASE, identity)
        undo.callback(partitions.delete, database)
        return database

    def _format(self, osd: int, identity: str, key: str, block: str, database: str) -> None:
        directory = self._directory(osd)
        shutil.rmtree(directory, ignore_errors=True)  # of an OSD that had this number before
        directory.mkdir(parents=True)
        self._link(directory, block, database)
        monmap = directory / "monmap"
        run([*self._ceph, "mon", "getmap", "--out-file", str(monmap)])
        command = ["ceph-osd", "--conf", self._config.config_file, "--id", str(osd), "--mkfs", "--no-mon-config"]
        command += ["--osd-objectstore", "bluestore", "--osd-data", str(directory), "--osd-uuid", identity]
        command += ["--monmap", str(monmap), "--keyfile", "-"]
        run(command, given=key, timeout=MKFS_TIMEOUT)
        self._prime(osd, block, database)

    def _prime(self, osd: int, block: str, database: str) -> None:
        """Fill an OSD's directory by what its label says."""
        directory = self._directory(osd)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        tool = ["ceph-bluestore-tool", "prime-osd-dir", "--no-mon-config"]
        run([*tool, "--dev", block, "--path", str(directory)])
        self._link(directory, block, database)
        if user := self._config.osd.user:
            run(["chown", "--recursive", "--dereference", f"{user}:{user}", str(directory)])
            run(["chown", f"{user}:{user}", *filter(None, (block, database))])

    def _link(self, directory: Path, block: str, database: str) -> None:
        for name, path in (("block", block), ("block.db", database)):
            if path:
                (directory / name).unlink(missing_ok=True)
                (directory / name).symlink_to(_stable(path))

    def _unmake(self, osd: int, *, keep_id: bool) -> None:
        """Take an OSD out of Ceph that this very call has made."""
        self._daemon.stop(osd)
        verb = "destroy" if keep_id else "purge"
        run([*self._ceph, "osd", "down", str(osd)])
        run([*self._ceph, "osd", verb, str(osd), "--force", "--yes-i-really-mean-it"])
        shutil.rmtree(self._directory(osd), ignore_errors=True)

    def _clear(self, disk: str) -> None:
        for partition in partitions.partitions(disk):
            partitions.delete(partition)

    def _labels(self, disk: str) -> list[tuple[str, Label]]:
        """What BlueStore says of a disk and of each of its partitions, where it is there."""
        paths = [partition.path for partition in partitions.partitions(disk)] or [disk]
        found = []
        for path in paths:
            if "ceph_bluestore" in signatures(path):
                found.append((path, read_label(path)))
        return found

    def _database(self, identity: str) -> Partition | None:
        """The database of the OSD of this uuid."""
        group = self.db_group()
        found = partitions.partitions(group) if group else []
        return next((partition for partition in found if partition.name == identity), None)

    def _osd(self, disk: str, label: Label, database: Partition | None) -> Osd:
        return Osd(
            id=int(label["whoami"]),
            node=self._node,
            device=disk,
            db_device=database.path if database else "",
            db_size=database.size if database else 0,
            uuid=label["osd_uuid"],
        )

    def _directory(self, osd: int) -> Path:
        return Path(self._config.osd.directory, f"ceph-{osd}")


def read_label(path: str) -> Label:
    """BlueStore's label of a device. Raises DriverError when it has none."""
    answer = json.loads(run(["ceph-bluestore-tool", "show-label", "--no-mon-config", "--dev", path]))
    label: Label = answer[path]
    return label


def _stable(path: str) -> str:
    """A name of a partition that stays when disks are found in another order, if the system keeps such names."""
    links = Path("/dev/disk/by-partuuid")
    same = (str(link) for link in links.glob("*") if str(link.resolve()) == path)
    return next(same, path)
