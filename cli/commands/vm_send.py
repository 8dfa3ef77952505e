"""``pvc vm snapshot send``, and ``abandon`` at the other end."""

from __future__ import annotations

from typing import Any

import click

from cli import connections
from cli.options import complete_connection, domain_argument, read_api_key, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

destination_key_option = click.option(
    "-k",
    "--destination-api-key",
    callback=read_api_key,
    metavar="KEY|@FILE|-",
    help="API key of the destination, where it is given by its address.",
)
destination_pool_option = click.option(
    "-p", "--destination-pool", help="Pool of the disks there; pools of the same names unless given."
)


@click.command()
@domain_argument
@click.argument("snapshot_name")
@click.argument("destination", shell_complete=complete_connection)
@destination_key_option
@destination_pool_option
@click.option("-i", "--incremental", metavar="SNAPSHOT", help="Send only what differs from this one, which both have.")
@wait_option()
@pass_session
def send(
    session: Session,
    domain: str,
    snapshot_name: str,
    destination: str,
    destination_api_key: str,
    destination_pool: str | None,
    incremental: str | None,
    wait: bool,
) -> None:
    """Send the snapshot SNAPSHOT_NAME of DOMAIN to another cluster.

    DESTINATION is a connection that this command knows, a peer that the cluster knows, or the address of an API, such
    as https://west.example.com:7370/api/v1, with -k. What was cut off goes on where it stopped when it is sent again.
    """
    from cli.tasks import submit

    body = {
        "snapshot_name": snapshot_name,
        "destination_storage_pool": destination_pool,
        "incremental_parent": incremental,
        **to_destination(destination, destination_api_key),
    }
    submit(session, "POST", route("vm", domain, "snapshot", "send"), body=body, wait=wait)


@click.command()
@domain_argument
@click.argument("snapshot_name")
@wait_option()
@yes_option
@pass_session
def abandon(session: Session, domain: str, snapshot_name: str, wait: bool, yes: bool) -> None:
    """Give up a snapshot that another cluster sent only in part.

    What has come of SNAPSHOT_NAME is removed; complete snapshots stay. A fault names snapshots of which nothing more
    has come for an hour. DOMAIN is the UUID where the machine has never come whole.
    """
    from cli.tasks import submit

    session.confirm(f"Remove what has come of the snapshot {snapshot_name} of {domain}?", yes)
    submit(session, "DELETE", route("vm", domain, "transfer", snapshot_name), wait=wait)


def to_destination(destination: str, api_key: str) -> dict[str, Any]:
    """What is sent of a destination: see ``send``."""
    if "://" in destination:
        if not api_key:
            raise click.UsageError(f"{destination} needs its API key, with -k")
        return {"destination_api_uri": destination, "destination_api_key": api_key}
    known = connections.load().get(destination)
    if known is None:
        return {"peer": destination}
    return {"destination_api_uri": f"{known.url}/api/v1", "destination_api_key": api_key or known.api_key}
