"""OSDs."""

from __future__ import annotations

from cli.output import Column, Table
from cli.tables.cells import by_state

OSDS = Table(
    (
        Column("ID", "id", right=True),
        Column("Node", "stats.node"),
        Column("Device", "device"),
        Column("DB device", "db_device"),
        Column("State", "stats.state", paint=by_state),
        Column("PGs", "stats.pgs", right=True),
        Column("Weight", "stats.weight", right=True),
        Column("Reweight", "stats.reweight", right=True),
        Column("Used", "stats.used", right=True),
        Column("Free", "stats.avail", right=True),
        Column("Used %", "stats.utilization", right=True),
        Column("Var", "stats.var", right=True),
        Column("Reads/s", "stats.rd_ops", right=True),
        Column("Writes/s", "stats.wr_ops", right=True),
    ),
    empty="No OSD matches.",
    key="id",
)
