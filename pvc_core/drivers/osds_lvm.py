"""OSDs on logical volumes, by ``ceph-volume lvm``, which keeps whose they are in the volumes' tags.

A disk is a volume group of its own, with one volume for each OSD. The databases of all OSDs of a node lie in one more
group. ``ceph-volume`` starts the daemons itself, and has systemd start them at each boot.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pvc_core.config import CephConfig
from pvc_core.drivers.command import run
from pvc_core.drivers.disks import disks, empty_disk, find_disk
from pvc_core.drivers.osd_daemon import OsdDaemon, ceph_command
from pvc_core.errors import Conflict, DriverError, NotFound
from pvc_core.model.storage import Device, Osd

DB_GROUP = "osd-db"
KEEPER = "pvc-keep"  # the volume by which the group stays, without any OSD
BOOTSTRAP_KEYRING = Path("/var/lib/ceph/bootstrap-osd/ceph.keyring")  # with which ceph-volume speaks to the monitors
TIMEOUT = 900.0  # seconds for ceph-volume to make an OSD on a large, slow disk

Row = Mapping[str, Any]


class LvmOsds:
    """See ``pvc_core.ports.Osds``."""

    def __init__(self, node: str, config: CephConfig, keyring: Path = BOOTSTRAP_KEYRING) -> None:
        self._node = node
        self._config = config
        self._keyring = keyring
        self._daemon = OsdDaemon(config.osd)
        self._ceph = ceph_command(config)

    def devices(self) -> list[Device]:
        return disks(self._config.osd.loop_files)

    def device(self, path: str) -> Device:
        return find_disk(path, self.devices())

    def create(self, device: str, count: int, db_device: str, db_size: int, report: Callable[[str], None]) -> list[Osd]:
        disk = empty_disk(device, self.devices())
        with ExitStack() as undo:
            group = self._make_group(undo, disk.path, report)
            made = []
            for number in range(1, count + 1):
                report(f"Making OSD {number} of {count} on {device}")
                # Of what is free then, so that all are equal and nothing is left over.
                made.append(self._make(undo, group, f"{100 // (count - number + 1)}%FREE", None, db_device, db_size))
            undo.pop_all()
        return made

    def replace(self, osd: int, device: str, db_device: str, db_size: int, report: Callable[[str], None]) -> Osd:
        disk = empty_disk(device, self.devices())
        with ExitStack() as undo:
            group = self._make_group(undo, disk.path, report)
            report(f"Making OSD {osd} on {device}")
            made = self._make(undo, group, "100%FREE", osd, db_device, db_size)
            undo.pop_all()
        return made

    def activate(self, osd: int, device: str) -> Osd:
        disk = self.device(device)
        found = next((each for each in self.present() if each.id == osd and each.device == disk.path), None)
        if found is None:
            raise NotFound(f"OSD {osd} does not lie on {device}")
        cluster, own = self._tags(osd)["ceph.cluster_fsid"], run([*self._ceph, "fsid"])
        if cluster != own:
            raise Conflict(f"the OSD on {device} is one of the Ceph cluster {cluster}, this is {own}")
        run(["ceph-volume", "lvm", "activate", "--bluestore", str(osd), found.uuid], timeout=TIMEOUT)
        return found

    def stop(self, osd: int) -> None:
        self._daemon.stop(osd)
        for found in self.present():
            if found.id == osd:
                run(["systemctl", "disable", f"ceph-volume@lvm-{osd}-{found.uuid}"])

    def zap(self, osd: int) -> None:
        rows = self._list().get(str(osd), [])
        if not rows:
            return
        run(["ceph-volume", "lvm", "zap", "--osd-id", str(osd)], timeout=TIMEOUT)
        for row in rows:
            self._remove_volume(f"{row['vg_name']}/{row['lv_name']}")
        for group in {row["vg_name"] for row in rows} - {DB_GROUP}:
            if run(["vgs", "--noheadings", "--options", "lv_count", group]).strip() == "0":
                self._remove_group(group)

    def create_db_group(self, device: str) -> None:
        if self.db_group():
            raise Conflict(f"this node has a volume group {DB_GROUP} for the databases of its OSDs already")
        run(["vgcreate", "--yes", DB_GROUP, empty_disk(device, self.devices()).path])
        # When ceph-volume takes the last volume of a group away, it takes the group with it.
        run(["lvcreate", "--yes", "--name", KEEPER, "--extents", "1", DB_GROUP])

    def db_group(self) -> str:
        groups = run(["vgs", "--noheadings", "--options", "vg_name"]).split()
        return DB_GROUP if DB_GROUP in groups else ""

    def present(self) -> Sequence[Osd]:
        found = [parse_osd(self._node, int(number), rows) for number, rows in self._list().items()]
        return sorted(found, key=lambda osd: osd.id)

    def _make_group(self, undo: ExitStack, disk: str, report: Callable[[str], None]) -> str:
        report(f"Making a volume group of {disk}")
        group = f"ceph-{uuid.uuid4()}"
        run(["vgcreate", "--yes", group, disk])
        undo.callback(self._remove_group, group)
        return group

    def _make(self, undo: ExitStack, group: str, share: str, osd: int | None, db_device: str, db_size: int) -> Osd:
        """One OSD on a share of a volume group, with the id ``osd`` if that is given. ``undo`` learns what to do."""
        self._require_keyring()
        identity = str(uuid.uuid4())
        block = self._make_volume(undo, group, f"osd-block-{identity}", ["--extents", share])
        command = ["ceph-volume", "lvm", "create", "--bluestore", "--osd-fsid", identity, "--data", block]
        if db_device:
            size = ["--size", f"{db_size}b"]
            command += ["--block.db", self._make_volume(undo, db_device, f"osd-db-{identity}", size)]
        if osd is not None:
            command += ["--osd-id", str(osd)]
        run(command, timeout=TIMEOUT)  # which takes its own steps back when it fails
        made = next(each for each in self.present() if each.uuid == identity)
        undo.callback(self._unmake, made.id, keep_id=osd is not None)
        return made

    def _make_volume(self, undo: ExitStack, group: str, name: str, size: list[str]) -> str:
        run(["lvcreate", "--yes", "--name", name, *size, group])
        undo.callback(self._remove_volume, f"{group}/{name}")
        return f"{group}/{name}"

    def _remove_volume(self, volume: str) -> None:
        """Nothing when it is gone: ceph-volume may have taken it away."""
        known = run(["lvs", "--noheadings", "--options", "vg_name,lv_name", "--separator", "/"]).split()
        if volume in known:
            run(["lvremove", "--yes", volume])

    def _remove_group(self, group: str) -> None:
        """A group with its physical volume; nothing when it is gone."""
        rows = run(["pvs", "--noheadings", "--options", "pv_name,vg_name"]).splitlines()
        disks_of_it = [row.split()[0] for row in rows if row.split()[1:] == [group]]
        if disks_of_it:
            run(["vgremove", "--yes", group])
            run(["pvremove", "--yes", *disks_of_it])

    def _unmake(self, osd: int, *, keep_id: bool) -> None:
        """Take an OSD out of Ceph that this very call has made."""
        self.stop(osd)
        run([*self._ceph, "osd", "down", str(osd)])
        run([*self._ceph, "osd", "destroy" if keep_id else "purge", str(osd), "--force", "--yes-i-really-mean-it"])
        run(["ceph-volume", "lvm", "zap", "--osd-id", str(osd)], timeout=TIMEOUT)

    def _require_keyring(self) -> None:
        if not self._keyring.exists():
            self._keyring.parent.mkdir(parents=True, exist_ok=True)
            run([*self._ceph, "auth", "get", "client.bootstrap-osd", "--out-file", str(self._keyring)])

    def _list(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = json.loads(run(["ceph-volume", "lvm", "list", "--format", "json"]) or "{}")
        return found

    def _tags(self, osd: int) -> Mapping[str, str]:
        tags: Mapping[str, str] = _row(self._list()[str(osd)], "block")["tags"]
        return tags


def parse_osd(node: str, number: int, rows: Sequence[Row]) -> Osd:
    """An OSD as ``ceph-volume lvm list`` shows it: a row for each volume of it."""
    block = _row(rows, "block")
    database = next((row for row in rows if row["type"] == "db"), None)
    return Osd(
        id=number,
        node=node,
        device=next(iter(block["devices"]), ""),
        db_device=database["path"] if database else "",
        db_size=int(database.get("lv_size") or 0) if database else 0,
        uuid=block["tags"]["ceph.osd_fsid"],
    )


def _row(rows: Sequence[Row], kind: str) -> Row:
    found = next((row for row in rows if row["type"] == kind), None)
    if found is None:
        raise DriverError(f"ceph-volume lists an OSD without a volume of the type {kind}")
    return found
