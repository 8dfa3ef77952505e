"""``pvc cluster fault``: what went wrong."""

from __future__ import annotations

import click

from cli.options import complete_fault, format_option, limit_argument, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

faults_argument = click.argument("fault_id", nargs=-1, required=True, shell_complete=complete_fault)


@click.command("list")
@limit_argument
@format_option("short", "long", "json", "json-pretty")
@pass_session
def list_faults(session: Session, limit: str | None, style: str) -> None:
    """List faults, the newest last.

    LIMIT is a regular expression that the id or message must match.
    """
    from cli.output import show_list
    from cli.tables.faults import FAULTS, FAULTS_LONG

    show_list(session.client.get(route("faults"), {"limit": limit}), style, FAULTS_LONG if style == "long" else FAULTS)


@click.command()
@faults_argument
@wait_option()
@pass_session
def ack(session: Session, fault_id: tuple[str, ...], wait: bool) -> None:
    """Acknowledge faults: they lower the health no more."""
    _write(session, "PUT", fault_id, wait)


@click.command("ack-all")
@yes_option
@wait_option()
@pass_session
def ack_all(session: Session, yes: bool, wait: bool) -> None:
    """Acknowledge all faults."""
    session.confirm("Acknowledge all faults?", yes)
    _write(session, "PUT", (), wait)


@click.command()
@faults_argument
@wait_option()
@pass_session
def delete(session: Session, fault_id: tuple[str, ...], wait: bool) -> None:
    """Delete faults. One whose cause is still there comes back."""
    _write(session, "DELETE", fault_id, wait)


@click.command("delete-all")
@yes_option
@wait_option()
@pass_session
def delete_all(session: Session, yes: bool, wait: bool) -> None:
    """Delete all faults. Those whose causes are still there come back."""
    session.confirm("Delete all faults?", yes)
    _write(session, "DELETE", (), wait)


def _write(session: Session, method: str, faults: tuple[str, ...], wait: bool) -> None:
    """Without ``faults``, on all there are."""
    from cli.tasks import submit

    for path in [route("faults", fault) for fault in faults] or [route("faults")]:
        submit(session, method, path, wait=wait)


COMMANDS = [ack, ack_all, delete, delete_all, list_faults]
