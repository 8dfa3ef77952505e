"""What Ceph's monitors and manager say of the OSDs, and are told about them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pvc_core.config import CephConfig
from pvc_core.drivers.ceph_connection import CephConnection
from pvc_core.errors import Conflict, DriverError, NotFound
from pvc_core.model.storage import OsdStats
from pvc_core.ports import OsdLoad

Row = dict[str, Any]

# States of a placement group that lead to others by themselves.
_MOVING = {"backfilling", "backfill_wait", "recovering", "recovery_wait", "peering", "activating", "peered", "unknown"}

_ESCAPE = re.compile("\x1b\\[[0-9;]*m")  # colours
_UNITS = {unit: 1 << 10 * power for power, unit in enumerate("kMGTPE", start=1)}


@dataclass(frozen=True, slots=True)
class Traffic:
    """What goes through an OSD in a second."""

    write_ops: int = 0
    write_bytes: int = 0
    read_ops: int = 0
    read_bytes: int = 0


class CephOsdMap:
    """See ``pvc_core.ports.OsdMap``. Connects at the first call."""

    def __init__(self, config: CephConfig) -> None:
        self._ceph = CephConnection(config)

    def stats(self) -> dict[int, OsdStats]:
        return osd_stats(self._ceph)

    def load(self, osd: int) -> OsdLoad:
        self._require(osd)
        groups = self._ceph.manager_report("pg ls-by-osd", osd=osd).get("pg_stats", [])
        states = [set(group["state"].split("+")) for group in groups]
        counts = [group["stat_sum"] for group in groups]
        return OsdLoad(
            groups=len(groups),
            unclean=sum("clean" not in state for state in states),
            moving=sum(bool(state & _MOVING) for state in states),
            objects=sum(count["num_objects_degraded"] + count["num_objects_misplaced"] for count in counts),
        )

    def set_in(self, osd: int, taking: bool) -> None:
        self._require(osd)
        self._ceph.command("osd in" if taking else "osd out", ids=[str(osd)])

    def set_weight(self, osd: int, weight: float) -> None:
        self._ceph.command("osd crush reweight", name=f"osd.{osd}", weight=weight)

    def set_flag(self, flag: str, on: bool) -> None:
        self._ceph.command("osd set" if on else "osd unset", key=flag)

    def unsafe_to_stop(self, osd: int) -> str:
        self._require(osd)
        return self._ceph.objection("osd ok-to-stop", ids=[str(osd)])

    def unsafe_to_destroy(self, osd: int) -> str:
        self._require(osd)
        return self._ceph.objection("osd safe-to-destroy", ids=[str(osd)])

    def destroy(self, osd: int) -> None:
        self._refuse_up(osd)
        self._ceph.manager_command("osd destroy", id=osd, force=True)

    def purge(self, osd: int) -> None:
        self._refuse_up(osd)
        self._ceph.manager_command("osd purge", id=osd, force=True)

    def _refuse_up(self, osd: int) -> None:
        if self._require(osd)["up"]:
            raise Conflict(f"OSD {osd} is up: stop it first")

    def _require(self, osd: int) -> Row:
        for row in self._ceph.command("osd dump")["osds"]:
            if row["osd"] == osd:
                found: Row = row
                return found
        raise NotFound(f"Ceph has no OSD {osd}")


def osd_stats(ceph: CephConnection) -> dict[int, OsdStats]:
    """Every OSD, with what the manager knows of it while there is one."""
    dump = {row["osd"]: row for row in ceph.command("osd dump")["osds"]}
    hosts = _hosts(ceph.command("osd tree"))
    used: dict[int, Row] = {}
    traffic: dict[int, Traffic] = {}
    with suppress(DriverError):  # no manager is active
        if dump and ceph.command("mgr stat")["available"]:
            used = {row["id"]: row for row in ceph.manager_report("osd df")["nodes"]}
            traffic = parse_traffic(ceph.text("osd status", manager=True))
    return {osd: _stats(dump[osd], used.get(osd, {}), traffic.get(osd, Traffic()), hosts.get(osd, "")) for osd in dump}


def parse_traffic(text: str) -> dict[int, Traffic]:
    """The table of ``ceph osd status``, which Ceph 16 has no other form of: id, host, used, free, writes and their
    bytes, reads and their bytes, state. The host of an OSD that never ran is empty. A line that is none of these is
    left out: what it would tell is not worth a daemon's end."""
    found = {}
    for line in _ESCAPE.sub("", text).splitlines():
        words = line.split()
        if len(words) >= 8 and words[0].isdigit():
            with suppress(ValueError):
                found[int(words[0])] = Traffic(*map(_number, words[-5:-1]))
    return found


def _number(text: str) -> int:
    unit = _UNITS.get(text[-1:], 0)
    return int(float(text[:-1]) * unit) if unit else int(float(text))


def _stats(dump: Row, used: Row, traffic: Traffic, host: str) -> OsdStats:
    return OsdStats(
        up=bool(dump["up"]),
        in_=bool(dump["in"]),
        node=host,
        uuid=dump["uuid"],
        weight=used.get("crush_weight", 0.0),
        reweight=dump["weight"],
        primary_affinity=dump["primary_affinity"],
        pgs=used.get("pgs", 0),
        kb=used.get("kb", 0),
        used_kb=used.get("kb_used", 0),
        avail_kb=used.get("kb_avail", 0),
        utilization=used.get("utilization", 0.0),
        variance=used.get("var", 0.0),
        read_ops=traffic.read_ops,
        read_bytes=traffic.read_bytes,
        write_ops=traffic.write_ops,
        write_bytes=traffic.write_bytes,
        device_class=used.get("device_class", ""),
        data_kb=used.get("kb_used_data", 0),
        omap_kb=used.get("kb_used_omap", 0),
        meta_kb=used.get("kb_used_meta", 0),
    )


def _hosts(tree: Row) -> dict[int, str]:
    """The host that each OSD is placed under."""
    return {child: row["name"] for row in tree["nodes"] if row["type"] == "host" for child in row.get("children", ())}
