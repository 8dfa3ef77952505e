"""``pvc vm memory|vcpu|network|volume``: the virtual hardware of one machine.

The present XML is fetched, changed and sent back. Disks and network cards go through the call for devices instead,
which changes the running machine and its description alike, unless --no-live asks for the description alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.errors import CliError
from cli.options import (
    apply,
    complete_network,
    complete_volume,
    domain_argument,
    format_option,
    live_option,
    restart_option,
    wait_option,
    yes_option,
)
from cli.routes import route
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from cli.domain_xml import Domain
    from cli.machines import Vm

get_options = apply(domain_argument, format_option("pretty", "raw", "json", "json-pretty"), pass_session)
definition_options = apply(restart_option, yes_option, wait_option(), pass_session)
device_options = apply(live_option, definition_options)


def _open(session: Session, domain: str) -> tuple[Vm, Domain]:
    from cli import machines
    from cli.domain_xml import Domain

    vm = machines.fetch(session, domain)
    return vm, Domain(vm["xml"])


def _store(session: Session, vm: Vm, description: Domain, restart: bool | None, yes: bool, wait: bool) -> None:
    from cli import machines

    restart = machines.decide_restart(session, vm, restart, yes)
    machines.store(session, vm, str(description), restart=restart, wait=wait)


def _change_device(
    session: Session,
    vm: Vm,
    description: Domain,
    device: Element,
    method: str,
    *,
    live: bool,
    restart: bool | None,
    yes: bool,
    wait: bool,
) -> None:
    """Attach (POST) or detach (DELETE) a device."""
    from cli.domain_xml import device_text
    from cli.tasks import submit

    if live:
        if restart:
            session.note("No restart is needed for a change that takes effect at once.")
        given = {"xml": device_text(device)}
        # A body of DELETE may get lost on the way, so there it is in the query.
        where = {"query": given} if method == "DELETE" else {"body": given}
        submit(session, method, route("vm", vm["uuid"], "device"), wait=wait, **where)
    else:
        change = description.add if method == "POST" else description.remove
        change(device)
        _store(session, vm, description, restart, yes, wait)


def _show_value(vm: Vm, style: str, keys: tuple[str, ...], sheet_name: str) -> None:
    """One figure of a machine; ``keys`` are what JSON shows, the second of them what raw does."""
    from cli.output import show_item
    from cli.tables import vms

    if style == "raw":
        click.echo(vm[keys[1]])
    else:
        show_item({key: vm.get(key) for key in keys}, style, getattr(vms, sheet_name))


@click.command("get")
@get_options
def get_memory(session: Session, domain: str, style: str) -> None:
    """Show how much memory the machine DOMAIN has, in MiB."""
    _show_value(session.client.get(route("vm", domain)), style, ("name", "memory"), "MEMORY")


@click.command("set")
@domain_argument
@click.argument("memory", type=click.IntRange(min=1), metavar="MEMORY")
@definition_options
def set_memory(session: Session, domain: str, memory: int, restart: bool | None, yes: bool, wait: bool) -> None:
    """Give the machine DOMAIN as many MiB as MEMORY says.

    It takes effect with its next start.
    """
    vm, description = _open(session, domain)
    description.set_memory(memory)
    _store(session, vm, description, restart, yes, wait)


@click.command("get")
@get_options
def get_vcpus(session: Session, domain: str, style: str) -> None:
    """Show how many virtual CPUs the machine DOMAIN has."""
    _show_value(session.client.get(route("vm", domain)), style, ("name", "vcpu", "vcpu_topology"), "VCPUS")


def _topology(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, int, int] | None:
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is no topology; it is written SOCKETS,CORES,THREADS, such as 1,4,1")
    sockets, cores, threads = (int(part) for part in parts)
    return sockets, cores, threads


@click.command("set")
@domain_argument
@click.argument("vcpus", type=click.IntRange(min=1))
@click.option(
    "-t",
    "--topology",
    callback=_topology,
    metavar="SOCKETS,CORES,THREADS",
    help="How the guest sees them; 1,VCPUS,1 by default.",
)
@definition_options
def set_vcpus(
    session: Session,
    domain: str,
    vcpus: int,
    topology: tuple[int, int, int] | None,
    restart: bool | None,
    yes: bool,
    wait: bool,
) -> None:
    """Give the machine DOMAIN as many vCPUs as VCPUS says.

    It takes effect with its next start.
    """
    if topology and topology[0] * topology[1] * topology[2] != vcpus:
        raise click.UsageError(f"A topology of {','.join(map(str, topology))} does not make {vcpus} vCPUs.")
    vm, description = _open(session, domain)
    description.set_vcpus(vcpus, topology)
    _store(session, vm, description, restart, yes, wait)


def _bridge(vni: str) -> str:
    """Name of the bridge that stands for a network on each node."""
    if not vni.isdecimal():
        raise CliError(f"{vni!r} is no VNI; `pvc network list` shows those there are")
    return f"vmbr{vni}"


@click.command("get")
@get_options
def get_networks(session: Session, domain: str, style: str) -> None:
    """Show the network cards of the machine DOMAIN."""
    from cli.output import show_list
    from cli.tables.vms import VM_NETWORKS

    vm = session.client.get(route("vm", domain))
    show_list(vm["networks"], style, VM_NETWORKS, _part(vm, "networks"))


@click.command("add")
@domain_argument
@click.argument("net", shell_complete=complete_network)
@click.option("-a", "--macaddr", help="MAC address; chosen when not given.")
@click.option("-m", "--model", default="virtio", show_default=True, help="Model of the card that the guest sees.")
@device_options
def add_network(
    session: Session,
    domain: str,
    net: str,
    macaddr: str | None,
    model: str,
    live: bool,
    restart: bool | None,
    yes: bool,
    wait: bool,
) -> None:
    """Give DOMAIN a network card in the network with the VNI NET."""
    vm, description = _open(session, domain)
    device = description.new_interface(_bridge(net), model, macaddr)
    _change_device(session, vm, description, device, "POST", live=live, restart=restart, yes=yes, wait=wait)


@click.command("remove")
@domain_argument
@click.argument("net", required=False, shell_complete=complete_network)
@click.option("-m", "--mac-address", help="The card with this MAC address; needed when several are in one network.")
@device_options
def remove_network(
    session: Session,
    domain: str,
    net: str | None,
    mac_address: str | None,
    live: bool,
    restart: bool | None,
    yes: bool,
    wait: bool,
) -> None:
    """Take a network card from the machine DOMAIN.

    It is the card in the network with the VNI NET, or the one with the given MAC address.
    """
    if net is None and mac_address is None:
        raise click.UsageError("Give NET or --mac-address.")
    vm, description = _open(session, domain)
    device = description.interface(None if net is None else _bridge(net), mac_address)
    _confirm_removal(session, vm, f"network card {mac_address or net}", live, yes)
    _change_device(session, vm, description, device, "DELETE", live=live, restart=restart, yes=yes, wait=wait)


@click.command("get")
@get_options
def get_volumes(session: Session, domain: str, style: str) -> None:
    """Show the disks of the machine DOMAIN."""
    from cli.output import show_list
    from cli.tables.vms import VM_VOLUMES

    vm = session.client.get(route("vm", domain))
    show_list(vm["disks"], style, VM_VOLUMES, _part(vm, "disks"))


@click.command("add")
@domain_argument
@click.argument("volume", shell_complete=complete_volume)
@click.option("-d", "--disk-id", help="Device name in the machine, such as vdb; the next free one when not given.")
@click.option(
    "-b",
    "--bus",
    type=click.Choice(["scsi", "ide", "usb", "virtio"]),
    help="Bus; that of its first disk when not given.",
)
@click.option(
    "-t", "--type", "kind", type=click.Choice(["rbd", "file"]), default="rbd", show_default=True, help="What VOLUME is."
)
@device_options
def add_volume(
    session: Session,
    domain: str,
    volume: str,
    disk_id: str | None,
    bus: str | None,
    kind: str,
    live: bool,
    restart: bool | None,
    yes: bool,
    wait: bool,
) -> None:
    """Give the machine DOMAIN the disk VOLUME.

    VOLUME is POOL/NAME, or with -t file the path of a raw image that each node has.
    """
    vm, description = _open(session, domain)
    device = description.new_disk(volume, kind, bus, disk_id)
    _change_device(session, vm, description, device, "POST", live=live, restart=restart, yes=yes, wait=wait)


@click.command("remove")
@domain_argument
@click.argument("volume", shell_complete=complete_volume)
@device_options
def remove_volume(
    session: Session, domain: str, volume: str, live: bool, restart: bool | None, yes: bool, wait: bool
) -> None:
    """Take the disk VOLUME from the machine DOMAIN. The volume itself stays."""
    vm, description = _open(session, domain)
    device = description.disk(volume)
    _confirm_removal(session, vm, f"disk {volume}", live, yes)
    _change_device(session, vm, description, device, "DELETE", live=live, restart=restart, yes=yes, wait=wait)


def _confirm_removal(session: Session, vm: Vm, what: str, live: bool, yes: bool) -> None:
    """A guest that still uses what is taken from it may come to harm."""
    from cli import machines

    if live and machines.runs(vm):
        session.confirm(f"Take {what} from {vm['name']} while it runs?", yes)


def _part(vm: Any, key: str) -> dict[str, Any]:
    return {"name": vm["name"], key: vm[key]}


MEMORY = [get_memory, set_memory]
NETWORK = [add_network, get_networks, remove_network]
VCPU = [get_vcpus, set_vcpus]
VOLUME = [add_volume, get_volumes, remove_volume]
