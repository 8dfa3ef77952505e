"""Pools and volumes."""

from __future__ import annotations

from cli.output import Column, Table, dig
from cli.tables.cells import amount, moment

POOLS = Table(
    (
        Column("Name", "name"),
        Column("Tier", "tier"),
        Column("PGs", "pgs", right=True),
        Column("Copies", "replcfg"),
        Column("Volumes", "volume_count", right=True),
        Column("Stored", amount("stats.stored_bytes"), right=True),
        Column("Used", amount("stats.used_bytes"), right=True),
        Column("Used %", lambda row: 100 * (dig(row, "stats.used_percent") or 0.0), right=True),
        Column("Free", amount("stats.free_bytes"), right=True),
        Column("Objects", "stats.num_objects", right=True),
        Column("Degraded", "stats.num_objects_degraded", right=True),
    ),
    empty="No pool matches.",
)

VOLUMES = Table(
    (
        Column("Name", "name"),
        Column("Pool", "pool"),
        Column("Size", "stats.size", right=True),
        Column("Objects", "stats.objects", right=True),
        Column("Order", "stats.order", right=True),
        Column("Format", "stats.format", right=True),
        Column("Snapshots", "stats.snapshot_count", right=True),
        Column("Features", "stats.features"),
    ),
    empty="No volume matches.",
)

SNAPSHOTS = Table(
    (
        Column("Name", "snapshot"),
        Column("Volume", "volume"),
        Column("Pool", "pool"),
        Column("Size", "size", right=True),
        Column("Taken", lambda row: moment(row.get("timestamp"))),
        Column("Protected", "protected"),
        Column("Of VM", "vm"),
    ),
    empty="No snapshot matches.",
    key="snapshot",
)
