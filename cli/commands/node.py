"""``pvc node``: the servers of the cluster. A command that names no node means the one it runs on."""

from __future__ import annotations

import click

from cli.options import format_option, limit_argument, node_argument, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session


def _change(session: Session, node: str, resource: str, action: str, wait: bool, **more: bool | None) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("node", node, resource), body={"action": action, **more}, wait=wait)


@click.command()
@node_argument
@wait_option(short=True)
@pass_session
def flush(session: Session, node: str, wait: bool) -> None:
    """Move all machines away from NODE, which then takes no new ones."""
    _change(session, node, "domain-state", "flush", wait)


@click.command()
@node_argument
@click.option("--stay", is_flag=True, help="Leave the machines where they are.")
@wait_option(short=True)
@pass_session
def ready(session: Session, node: str, stay: bool, wait: bool) -> None:
    """Bring NODE back to service. The machines that were moved away return."""
    _change(session, node, "domain-state", "ready", wait, stay=stay or None)


@click.command()
@node_argument
@wait_option(short=True)
@pass_session
def primary(session: Session, node: str, wait: bool) -> None:
    """Make the coordinator NODE primary. Done when it has the floating addresses."""
    _change(session, node, "coordinator-state", "primary", wait)


@click.command()
@node_argument
@wait_option(short=True)
@pass_session
def secondary(session: Session, node: str, wait: bool) -> None:
    """Let NODE stop being primary. Another coordinator takes over."""
    _change(session, node, "coordinator-state", "secondary", wait)


@click.command("fence-confirm")
@click.argument("node")
@yes_option
@wait_option(short=True)
@pass_session
def fence_confirm(session: Session, node: str, yes: bool, wait: bool) -> None:
    """Confirm by hand that the dead node NODE is off.

    For a fence that neither storage nor power could confirm. The node's machines are then started on other nodes: two
    copies of each would write to the same disks if NODE ran on. Make sure that it has no power.
    """
    session.confirm(f"Have you made sure that node {node} has no power, and start its machines elsewhere?", yes)
    _change(session, node, "fence", "confirm", wait)


@click.command("is-primary")
@node_argument
@pass_session
def is_primary(session: Session, node: str) -> None:
    """Exit with 0 when NODE is primary, and with 1 when it is not."""
    state = session.client.get(route("node", node, "coordinator-state"))["coordinator_state"]
    session.say("yes" if state == "primary" else "no")
    if state != "primary":
        raise click.exceptions.Exit(1)


@click.command()
@node_argument
@format_option("pretty", "long", "json", "json-pretty")
@pass_session
def info(session: Session, node: str, style: str) -> None:
    """Show NODE."""
    from cli.output import show_item
    from cli.tables.nodes import NODE

    show_item(session.client.get(route("node", node)), style, NODE)


@click.command("list")
@limit_argument
@click.option("-ds", "--daemon-state", help="Only nodes whose daemon is in this state.")
@click.option("-cs", "--coordinator-state", help="Only nodes in this coordinator state.")
@click.option("-vs", "--domain-state", help="Only nodes in this domain state.")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_nodes(
    session: Session,
    limit: str | None,
    daemon_state: str | None,
    coordinator_state: str | None,
    domain_state: str | None,
    style: str,
) -> None:
    """List nodes.

    LIMIT is a regular expression that the name must match.
    """
    from cli.output import show_list
    from cli.tables.nodes import NODES

    query = {
        "limit": limit,
        "daemon_state": daemon_state,
        "coordinator_state": coordinator_state,
        "domain_state": domain_state,
    }
    show_list(session.client.get(route("node"), query), style, NODES)


@click.command()
@node_argument
@click.option("-l", "--lines", type=click.IntRange(min=1), help="How many lines; 100, or 10 with --follow.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines until Ctrl-C.")
@pass_session
def log(session: Session, node: str, lines: int | None, follow: bool) -> None:
    """Show the last lines of NODE's daemon log."""
    from cli.log import show_log

    show_log(session, route("node", node, "log"), lines, follow)


COMMANDS = [fence_confirm, flush, info, is_primary, list_nodes, log, primary, ready, secondary]
