"""The clusters this command knows."""

from __future__ import annotations

from cli.output import Column, Table
from cli.tables.cells import by_health, by_state, percent

CONNECTIONS = Table(
    (
        Column("Name", "name"),
        Column("Description", "description"),
        Column("Address", "address"),
        Column("Port", "port", right=True),
        Column("Scheme", "scheme"),
        Column("API key", "api_key"),
    ),
    empty="No cluster is known yet.",
)

CONNECTION_DETAILS = Table(
    (
        Column("Name", "name"),
        Column("Description", "description"),
        Column("URL", "url"),
        Column("Reachable", "reachable"),
        Column("Version", "version"),
        Column("Primary", "primary_node"),
        Column("Health", percent("health"), right=True, paint=by_health),
        Column("Maintenance", "maintenance", paint=by_state),
        Column("Nodes", "nodes", right=True),
        Column("VMs", "vms", right=True),
        Column("Networks", "networks", right=True),
        Column("Pools", "pools", right=True),
        Column("Volumes", "volumes", right=True),
    ),
    empty="No cluster is known yet.",
)
