"""``pvc vm mirror``: the copy of a machine at another cluster."""

from __future__ import annotations

from typing import Any

import click

from cli.commands.vm_send import destination_key_option, destination_pool_option, to_destination
from cli.options import complete_connection, domain_argument, format_option, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session


def _do(session: Session, domain: str, action: str, wait: bool, body: dict[str, Any] | None = None) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("vm", domain, "mirror", action), body=body or {}, wait=wait)


@click.command()
@domain_argument
@click.argument("destination", shell_complete=complete_connection)
@destination_key_option
@destination_pool_option
@click.option("-g", "--goal", type=click.FloatRange(min=0), help="Seconds of lag that raise a fault; 0: never.")
@wait_option()
@pass_session
def create(
    session: Session,
    domain: str,
    destination: str,
    destination_api_key: str,
    destination_pool: str | None,
    goal: float | None,
    wait: bool,
) -> None:
    """Mirror DOMAIN to another cluster, or refresh its mirror.

    DESTINATION is a connection that this command knows, a peer that the cluster knows, or the address of an API, with
    -k. The first call sends the disks whole, each later one what has changed.
    """
    body = {"destination_storage_pool": destination_pool, "goal": goal}
    _do(session, domain, "create", wait, body | to_destination(destination, destination_api_key))


@click.command()
@domain_argument
@click.argument("destination", required=False, shell_complete=complete_connection)
@destination_key_option
@destination_pool_option
@click.option("--remove/--no-remove", default=False, help="Remove it here once it runs there: a move for good.")
@click.option("--force", is_flag=True, help="Promote the copy HERE, without the other cluster, when that one is lost.")
@wait_option()
@yes_option
@pass_session
def promote(
    session: Session,
    domain: str,
    destination: str | None,
    destination_api_key: str,
    destination_pool: str | None,
    remove: bool,
    force: bool,
    wait: bool,
    yes: bool,
) -> None:
    """Hand DOMAIN over to the other cluster, to run there.

    It is shut down, the last of it is sent, and it is started there: nothing is lost. DESTINATION may be left out where
    there is a mirror already. With --force it is the other way round: the chosen cluster takes DOMAIN over from its own
    copy, and what the other one wrote since is not in it.
    """
    if force:
        if destination or remove:
            raise click.UsageError("--force promotes the copy of the chosen cluster: give no destination, nor --remove")
        session.confirm(_force_question(session, domain), yes)
        _do(session, domain, "promote", wait, {"force": True})
        return
    there = to_destination(destination, destination_api_key) if destination else {}
    gone = ", and remove it here for good" if remove else ""
    session.confirm(f"Shut {domain} down and start it at {destination or 'the other cluster'}{gone}?", yes)
    body = {"destination_storage_pool": destination_pool, "remove_on_source": remove or None}
    _do(session, domain, "promote", wait, body | there)


def _force_question(session: Session, domain: str) -> str:
    """What a person should know beforehand."""
    from cli.tables.cells import duration

    mirror = session.client.get(route("vm", domain)).get("mirror")
    if mirror is None:
        return f"{domain} has no mirror: start it here from its newest snapshot?"
    if mirror["role"] != "secondary":
        return f"Have this cluster lead {domain} from its own disks, whatever cluster {mirror['peer']} has done since?"
    answered = mirror["answered"]
    heard = f"answered {duration(answered)} ago" if answered is not None else "has never answered"
    return (
        f"Cluster {mirror['peer']} {heard}. The copy of {domain} here is {duration(mirror['lag_seconds'])} old "
        f"(snapshot {mirror['snapshot']}); what was written after it is not in it. Promote it?"
    )


@click.command()
@domain_argument
@wait_option()
@yes_option
@pass_session
def resync(session: Session, domain: str, wait: bool, yes: bool) -> None:
    """Have DOMAIN follow the other cluster, which was promoted.

    What only this cluster has is kept as a snapshot `kept-EPOCH` until you remove it.
    """
    session.confirm(f"Take the disks of {domain} back to the last snapshot that both clusters have?", yes)
    _do(session, domain, "resync", wait)


@click.command("take-back")
@domain_argument
@wait_option()
@pass_session
def take_back(session: Session, domain: str, wait: bool) -> None:
    """Run DOMAIN here again, when handing it over broke off.

    The other cluster has to answer that it did not take it over.
    """
    _do(session, domain, "take-back", wait)


@click.command()
@domain_argument
@wait_option()
@yes_option
@pass_session
def remove(session: Session, domain: str, wait: bool, yes: bool) -> None:
    """End the mirror of DOMAIN at this cluster. The machine and its snapshots stay, here and there."""
    from cli.tasks import submit

    session.confirm(f"End the mirror of {domain}?", yes)
    submit(session, "DELETE", route("vm", domain, "mirror"), wait=wait)


@click.command("list")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_mirrors(session: Session, style: str) -> None:
    """List the mirrors of machines, and how far they are behind."""
    from cli.output import show_list
    from cli.tables.vms import MIRRORS

    show_list(session.client.get(route("vm"), {"mirror": "true"}), style, MIRRORS)


MIRROR = [create, list_mirrors, promote, remove, resync, take_back]
