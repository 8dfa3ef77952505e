"""Faults as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from pvc_core.model.fault import Fault, FaultStatus
from pvc_web.api.schema import Document

Moment = Annotated[str, Meta(description="In UTC, such as 2023-12-01 16:47:59.849742")]


class FaultDocument(Document):
    """What went wrong, and for how long."""

    id: str
    first_reported: Moment
    last_reported: Moment
    acknowledged_at: Annotated[str, Meta(description="The same; empty while it is not acknowledged")]
    status: FaultStatus
    health_delta: Annotated[int, Meta(description="Per cent by which it lowers the health while it counts")]
    message: str
    node: Annotated[str, Meta(description="The node whose health it lowers beside the cluster's; empty for none")]
    over: Annotated[bool, Meta(description="Its cause is gone, so it does not count any more")]


def fault_document(fault: Fault) -> FaultDocument:
    return FaultDocument.of(
        fault,
        first_reported=_moment(fault.first_reported),
        last_reported=_moment(fault.last_reported),
        acknowledged_at=_moment(fault.acknowledged_at) if fault.acknowledged_at else "",
    )


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
