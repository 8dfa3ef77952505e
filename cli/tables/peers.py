"""Other clusters."""

from __future__ import annotations

from cli.output import Column, Row, Table
from cli.tables.cells import amount


def _limit(row: Row) -> str:
    return f"{amount('bandwidth')(row)}/s" if row.get("bandwidth") else "none"


PEERS = Table(
    (
        Column("Name", "name"),
        Column("API", "api_uri"),
        Column("Certificate", lambda row: "verified" if row.get("verify_ssl") else "not verified"),
        Column("Pool", lambda row: row.get("pool") or "as here"),
        Column("Limit", _limit, right=True),
    ),
    empty="No other clusters are known.",
    key="name",
)
