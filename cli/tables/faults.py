"""Faults."""

from __future__ import annotations

from cli.output import Column, Row, Table
from cli.tables.cells import by_state, utc_moment


def _state(row: Row) -> str:
    """``over`` weighs more than ``new``: nothing is to be done about it any more."""
    return "over" if row.get("over") and row.get("status") == "new" else str(row.get("status"))


_ID = Column("ID", "id")
_STATE = Column("State", _state, paint=by_state)
_DELTA = Column("Health", lambda row: f"-{row.get('health_delta')} %", right=True)
_LAST = Column("Last", utc_moment("last_reported"))
_MESSAGE = Column("Message", "message")

FAULTS = Table((_ID, _STATE, _DELTA, _LAST, _MESSAGE), empty="No faults.", key="id")
FAULTS_LONG = Table(
    (
        _ID,
        _STATE,
        _DELTA,
        Column("Node", "node"),
        Column("First", utc_moment("first_reported")),
        _LAST,
        Column("Acknowledged", utc_moment("acknowledged_at")),
        _MESSAGE,
    ),
    empty="No faults.",
    key="id",
)
