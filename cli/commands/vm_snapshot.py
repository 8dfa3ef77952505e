"""``pvc vm snapshot``: snapshots of a machine with all its disks."""

from __future__ import annotations

import click

from cli.commands.vm_backup import EXPORTS
from cli.commands.vm_send import abandon, send
from cli.options import domain_argument, format_option, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session


@click.command()
@domain_argument
@click.argument("snapshot_name", required=False)
@wait_option()
@pass_session
def create(session: Session, domain: str, snapshot_name: str | None, wait: bool) -> None:
    """Take a snapshot of DOMAIN: its disks and its configuration.

    All disks are taken at one moment; a running machine stands still for a fraction of a second. Without SNAPSHOT_NAME
    it is called by the time, in UTC.
    """
    from cli.tasks import submit

    body = {"snapshot_name": snapshot_name} if snapshot_name else {}
    submit(session, "POST", route("vm", domain, "snapshot"), body=body, wait=wait)


@click.command()
@domain_argument
@click.argument("snapshot_name")
@wait_option()
@yes_option
@pass_session
def remove(session: Session, domain: str, snapshot_name: str, wait: bool, yes: bool) -> None:
    """Remove the snapshot SNAPSHOT_NAME of DOMAIN."""
    from cli.tasks import submit

    session.confirm(f"Remove the snapshot {snapshot_name} of {domain}?", yes)
    query = {"snapshot_name": snapshot_name}
    submit(session, "DELETE", route("vm", domain, "snapshot"), query=query, wait=wait)


@click.command()
@domain_argument
@click.argument("snapshot_name")
@click.option("-k", "--keep-config", is_flag=True, help="Roll back the disks alone, not the configuration.")
@wait_option()
@yes_option
@pass_session
def rollback(session: Session, domain: str, snapshot_name: str, keep_config: bool, wait: bool, yes: bool) -> None:
    """Make a stopped machine what it was at a snapshot.

    Everything that was written to the disks of DOMAIN since SNAPSHOT_NAME is lost; take another snapshot first to keep
    it. Later snapshots stay. The machine keeps its name and its node.
    """
    from cli.tasks import submit

    session.confirm(f"Roll {domain} back to the snapshot {snapshot_name}, and lose what was written since?", yes)
    body = {"snapshot_name": snapshot_name, "keep_config": keep_config}
    submit(session, "POST", route("vm", domain, "snapshot", "rollback"), body=body, wait=wait)


@click.command("list")
@domain_argument
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_snapshots(session: Session, domain: str, style: str) -> None:
    """List the snapshots of DOMAIN, the newest first."""
    from cli.output import show_list
    from cli.tables.vms import SNAPSHOTS

    show_list(session.client.get(route("vm", domain, "snapshot")), style, SNAPSHOTS)


SNAPSHOT = [create, remove, rollback, list_snapshots, *EXPORTS, send, abandon]
