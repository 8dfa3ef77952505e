"""Names for the shell to complete, asked of the cluster. Who presses Tab waits a second at most and sees no error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import click

from cli import connections
from cli.client import Client, Query
from cli.routes import route

PATIENCE = 1.0  # seconds
PAGE = 200  # as many as a person may want to look through


def connection_names(incomplete: str) -> list[str]:
    """Connections whose name begins with ``incomplete``."""
    try:
        return [name for name in sorted(connections.load()) if name.startswith(incomplete)]
    except click.ClickException:
        return []


def cluster_names(ctx: click.Context, subject: tuple[str, ...], key: str, incomplete: str) -> list[str]:
    """``key`` of the entities of the list ``subject`` in the chosen cluster that begin with ``incomplete``."""
    query = {"limit": f"^{re.escape(incomplete)}" if incomplete else None, "page_size": PAGE}
    return _keys(ctx, subject, query, lambda document: document, key, incomplete)


def task_ids(ctx: click.Context, incomplete: str) -> list[str]:
    """Ids of the newest tasks that begin with ``incomplete``."""
    return _keys(ctx, ("tasks",), {}, lambda document: document["tasks"], "task_id", incomplete)


def _keys(
    ctx: click.Context,
    subject: tuple[str, ...],
    query: Query,
    rows: Callable[[Any], list[Any]],
    key: str,
    incomplete: str,
) -> list[str]:
    try:
        chosen = connections.choose(connections.load(), ctx.find_root().params.get("connection"))
        client = Client(chosen, connect_timeout=PATIENCE, answer_timeout=PATIENCE)
        found = {str(row[key]) for row in rows(client.get(route(*subject), query))}
        return sorted(name for name in found if name.startswith(incomplete))
    except (click.ClickException, KeyError, TypeError):
        return []
