"""``pvc network``: networks that machines are connected to."""

from __future__ import annotations

from typing import Any

import click

from cli.options import (
    apply,
    complete_network,
    format_option,
    limit_argument,
    network_argument,
    wait_option,
    yes_option,
)
from cli.routes import route
from cli.session import Session, pass_session

vni_argument = click.argument("vni", shell_complete=complete_network)


def _detail_options(function: Any) -> Any:
    """What may be given when a network is added or modified, under the API's names. All but the MTU is for managed
    networks."""
    return apply(
        click.option(
            "-m", "--mtu", type=click.IntRange(68, 65535), help="MTU; that of the underlying interface when not given."
        ),
        click.option("-n", "--domain", help="DNS domain (managed)."),
        click.option(
            "--dns-server", "name_servers", multiple=True, help="DNS server of the domain; may be repeated (managed)."
        ),
        click.option("-i", "--ipnet", "ip4_network", help="IPv4 network, such as 10.1.0.0/24 (managed)."),
        click.option("-i6", "--ipnet6", "ip6_network", help="IPv6 network, such as 2001:db8::/64 (managed)."),
        click.option("-g", "--gateway", "ip4_gateway", help="IPv4 gateway (managed)."),
        click.option("-g6", "--gateway6", "ip6_gateway", help="IPv6 gateway (managed)."),
        click.option("--dhcp/--no-dhcp", "dhcp4", default=None, help="Give out IPv4 addresses, or do not (managed)."),
        click.option("--dhcp-start", "dhcp4_start", help="First IPv4 address to give out (managed)."),
        click.option("--dhcp-end", "dhcp4_end", help="Last IPv4 address to give out (managed)."),
    )(function)


def _body(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "name_servers": ",".join(options["name_servers"]) or None}


@click.command()
@click.argument("vni", type=int)
@click.option("-d", "--description", required=True, help="What the network is for; unique in the cluster.")
@click.option(
    "-p",
    "--type",
    "nettype",
    type=click.Choice(["managed", "bridged"]),
    required=True,
    help="bridged: a VLAN of the switches, given to machines as it is. managed: run by the cluster.",
)
@_detail_options
@wait_option()
@pass_session
def add(session: Session, /, wait: bool, **options: Any) -> None:
    """Add a network with the id VNI (for a bridged one, its VLAN)."""
    from cli.tasks import submit

    submit(session, "POST", route("network"), body=_body(options), wait=wait)


@click.command()
@vni_argument
@click.option("-d", "--description", help="What the network is for.")
@_detail_options
@wait_option()
@pass_session
def modify(session: Session, /, vni: str, wait: bool, **options: Any) -> None:
    """Change what is given of the network VNI; the rest stays."""
    from cli.tasks import submit

    body = _body(options)
    if all(value is None for value in body.values()):
        raise click.UsageError("Give at least one thing to change.")
    submit(session, "PUT", route("network", vni), body=body, wait=wait)


@click.command()
@network_argument
@yes_option
@wait_option()
@pass_session
def remove(session: Session, net: str, yes: bool, wait: bool) -> None:
    """Remove the network with the VNI NET."""
    from cli.tasks import submit

    session.confirm(f"Remove network {net}?", yes)
    submit(session, "DELETE", route("network", net), wait=wait)


@click.command()
@vni_argument
@format_option("pretty", "long", "json", "json-pretty")
@pass_session
def info(session: Session, vni: str, style: str) -> None:
    """Show the network VNI."""
    from cli.output import show_item
    from cli.tables.networks import NETWORK

    show_item(session.client.get(route("network", vni)), style, NETWORK)


@click.command("list")
@limit_argument
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_networks(session: Session, limit: str | None, style: str) -> None:
    """List networks.

    LIMIT is a regular expression that the VNI or description must match.
    """
    from cli.output import show_list
    from cli.tables.networks import NETWORKS

    show_list(session.client.get(route("network"), {"limit": limit}), style, NETWORKS)


COMMANDS = [add, info, list_networks, modify, remove]
