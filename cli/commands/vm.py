"""``pvc vm``: virtual machines. What concerns single devices is in ``vm_devices``, definitions in ``vm_definition``."""

from __future__ import annotations

import click

from cli.commands.schedule import autobackup, automirror
from cli.commands.vm_definition import DEFINITION
from cli.lazy import LazyGroup
from cli.options import (
    complete_node,
    domain_argument,
    force_live_option,
    format_option,
    limit_argument,
    target_option,
    wait_option,
    yes_option,
)
from cli.routes import route
from cli.session import Session, pass_session

_DEVICES = "cli.commands.vm_devices"


def _power(session: Session, domain: str, state: str, wait: bool, force: bool | None = None) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, "state"), body={"state": state, "force": force}, wait=wait)


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Even a mirror: it is led by this cluster from then on.")
@wait_option()
@pass_session
def start(session: Session, domain: str, force: bool, wait: bool) -> None:
    """Start the machine DOMAIN. One that failed is tried again."""
    _power(session, domain, "start", wait, force)


@click.command()
@domain_argument
@wait_option(short=True)
@yes_option
@pass_session
def restart(session: Session, domain: str, wait: bool, yes: bool) -> None:
    """Shut the machine DOMAIN down and start it again. What was changed in its description takes effect."""
    session.confirm(f"Restart {domain}?", yes)
    _power(session, domain, "restart", wait)


@click.command()
@domain_argument
@wait_option(short=True)
@yes_option
@pass_session
def shutdown(session: Session, domain: str, wait: bool, yes: bool) -> None:
    """Ask the machine DOMAIN to power off. It is stopped when its time is up."""
    session.confirm(f"Shut down {domain}?", yes)
    _power(session, domain, "shutdown", wait)


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Even a mirror: it is led by this cluster from then on.")
@yes_option
@wait_option()
@pass_session
def stop(session: Session, domain: str, force: bool, yes: bool, wait: bool) -> None:
    """Stop the machine DOMAIN at once, like pulling its plug."""
    session.confirm(f"Stop {domain} at once, without shutting it down?", yes)
    _power(session, domain, "stop", wait, force)


@click.command()
@domain_argument
@click.option("--force", is_flag=True, help="Stop it at once instead of shutting it down.")
@yes_option
@wait_option()
@pass_session
def disable(session: Session, domain: str, force: bool, yes: bool, wait: bool) -> None:
    """Shut the machine DOMAIN down for good. The cluster never starts it by itself."""
    session.confirm(f"Shut down and disable {domain}?", yes)
    _power(session, domain, "disable", wait, force)


def _change_node(session: Session, domain: str, action: str, wait: bool, **body: object) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, "node"), body={"action": action, **body}, wait=wait)


@click.command()
@domain_argument
@target_option
@click.option(
    "-f", "--force", "force", is_flag=True, help="Even if it was migrated before; it still returns to its first node."
)
@wait_option(short=True)
@force_live_option
@pass_session
def migrate(session: Session, domain: str, target: str | None, force: bool, wait: bool, force_live: bool) -> None:
    """Move the machine DOMAIN to another node for now.

    `pvc vm unmigrate` brings it back.
    """
    _change_node(session, domain, "migrate", wait, node=target, force=force, force_live=force_live)


@click.command()
@domain_argument
@wait_option(short=True)
@force_live_option
@pass_session
def unmigrate(session: Session, domain: str, wait: bool, force_live: bool) -> None:
    """Bring the machine DOMAIN back to the node it was migrated from."""
    _change_node(session, domain, "unmigrate", wait, force_live=force_live)


@click.command()
@domain_argument
@target_option
@wait_option(short=True)
@force_live_option
@pass_session
def move(session: Session, domain: str, target: str | None, wait: bool, force_live: bool) -> None:
    """Move the machine DOMAIN to another node for good."""
    _change_node(session, domain, "move", wait, node=target, force_live=force_live)


@click.command("flush-locks")
@domain_argument
@wait_option()
@pass_session
def flush_locks(session: Session, domain: str, wait: bool) -> None:
    """Free the RBD locks of a stopped machine. A node that died leaves them on the disks of DOMAIN."""
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, "locks"), wait=wait)


@click.command()
@domain_argument
@format_option("pretty", "long", "json", "json-pretty")
@pass_session
def info(session: Session, domain: str, style: str) -> None:
    """Show the machine DOMAIN."""
    from cli.output import show_item
    from cli.tables.vms import VM

    show_item(session.client.get(route("vm", domain)), style, VM)


@click.command("list")
@limit_argument
@click.option("-t", "--target", shell_complete=complete_node, help="Only machines on this node.")
@click.option("-s", "--state", help="Only machines in this state.")
@click.option("-g", "--tag", help="Only machines with this tag.")
@click.option("-n", "--negate", is_flag=True, help="Turn the node, state and tag around: all but those.")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_vms(
    session: Session,
    limit: str | None,
    target: str | None,
    state: str | None,
    tag: str | None,
    negate: bool,
    style: str,
) -> None:
    """List machines.

    LIMIT is a regular expression that the name must match, or a whole UUID.
    """
    from cli.output import show_list
    from cli.tables.vms import VMS

    query = {"limit": limit, "node": target, "state": state, "tag": tag, "negate": negate or None}
    show_list(session.client.get(route("vm"), query), style, VMS)


@click.command()
@domain_argument
@click.option("-l", "--lines", type=click.IntRange(min=1), help="How many lines; 100, or 10 with --follow.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing new lines until Ctrl-C.")
@pass_session
def log(session: Session, domain: str, lines: int | None, follow: bool) -> None:
    """Show the last lines of the serial console of DOMAIN."""
    from cli.log import show_log

    show_log(session, route("vm", domain, "console"), lines, follow)


COMMANDS = [
    *DEFINITION,
    autobackup,
    automirror,
    disable,
    flush_locks,
    info,
    list_vms,
    log,
    migrate,
    move,
    restart,
    shutdown,
    start,
    stop,
    unmigrate,
    LazyGroup("backup", "Backups of a machine in a directory.", "cli.commands.vm_backup:BACKUP"),
    LazyGroup("memory", "The memory of a machine.", f"{_DEVICES}:MEMORY"),
    LazyGroup("mirror", "The copy of a machine at another cluster.", "cli.commands.vm_mirror:MIRROR"),
    LazyGroup("network", "The network cards of a machine.", f"{_DEVICES}:NETWORK"),
    LazyGroup("snapshot", "Snapshots of a machine with all its disks.", "cli.commands.vm_snapshot:SNAPSHOT"),
    LazyGroup("tag", "The tags of a machine.", "cli.commands.vm_definition:TAG"),
    LazyGroup("vcpu", "The virtual CPUs of a machine.", f"{_DEVICES}:VCPU"),
    LazyGroup("volume", "The disks of a machine.", f"{_DEVICES}:VOLUME"),
]
