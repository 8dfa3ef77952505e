"""OSDs as the API shows them."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.storage import Osd, OsdStats
from pvc_web.api.schema import Document
from pvc_web.storage.documents import human_size


class OsdStatsDocument(Document):
    """What Ceph says of an OSD."""

    uuid: str
    up: Annotated[int, Meta(description="1 while its daemon runs")]
    in_: Annotated[int, Meta(description="1 while it takes data")] = msgspec.field(name="in")
    primary_affinity: float
    weight: Annotated[float, Meta(description="Its share of the data, in the CRUSH map")]
    reweight: Annotated[float, Meta(description="By how much that share is lowered now")]
    node: str
    used: Annotated[str, Meta(description="For people, with a suffix that counts in powers of 1024")]
    avail: Annotated[str, Meta(description="The same")]
    wr_ops: Annotated[int, Meta(description="A second")]
    wr_data: Annotated[int, Meta(description="Bytes a second")]
    rd_ops: Annotated[int, Meta(description="A second")]
    rd_data: Annotated[int, Meta(description="Bytes a second")]
    state: Annotated[str, Meta(description="up or down, and in or out")]
    kb: int
    pgs: int
    utilization: Annotated[float, Meta(description="Percent")]
    var: Annotated[float, Meta(description="Its utilization as a multiple of the average of all")]
    device_class: str


class OsdDocument(Document):
    """A storage daemon of Ceph."""

    id: str
    device: Annotated[str, Meta(description="Empty where PVC did not make it")]
    db_device: Annotated[str, Meta(description="Where its database is, if not beside its data")]
    stats: OsdStatsDocument


class OsdStateDocument(Document):
    """Whether an OSD runs, and whether it takes data."""

    state: str


def all_osds(snapshot: ClusterSnapshot) -> dict[int, OsdStats | None]:
    """Those that Ceph knows and those that PVC has a record of, by id."""
    known = snapshot.storage.osds if snapshot.storage else {}
    return {osd: known.get(osd) for osd in sorted({*known, *snapshot.osds})}


def osd_state(stats: OsdStats | None) -> str:
    return "unknown" if stats is None else stats.state


def osd_document(osd: int, snapshot: ClusterSnapshot) -> OsdDocument:
    found = all_osds(snapshot)[osd]
    record = snapshot.osds.get(osd) or Osd(osd, found.node if found else "", "")
    stats = found or OsdStats(up=False, in_=False)
    document = OsdStatsDocument(
        uuid=stats.uuid or record.uuid,
        up=int(stats.up),
        in_=int(stats.in_),
        primary_affinity=stats.primary_affinity,
        weight=stats.weight,
        reweight=stats.reweight,
        node=record.node,
        used=human_size(stats.used_kb << 10),
        avail=human_size(stats.avail_kb << 10),
        wr_ops=stats.write_ops,
        wr_data=stats.write_bytes,
        rd_ops=stats.read_ops,
        rd_data=stats.read_bytes,
        state=osd_state(found),
        kb=stats.kb,
        pgs=stats.pgs,
        utilization=stats.utilization,
        var=stats.variance,
        device_class=stats.device_class,
    )
    return OsdDocument(id=str(osd), device=record.device, db_device=record.db_device, stats=document)
