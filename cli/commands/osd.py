"""``pvc storage osd``: Ceph's storage daemons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cli.options import complete_node, completer, format_option, limit_argument, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

osd_argument = click.argument("osdid", shell_complete=completer("storage", "ceph", "osd", key="id"))
device_argument = click.argument("device")
node_argument = click.argument("node", shell_complete=complete_node)
property_argument = click.argument("osd_property")
ratio_option = click.option(
    "-r", "--ext-db-ratio", type=float, help="Put its database on the node's volume group for them, this part as large."
)
size_option = click.option("-s", "--ext-db-size", metavar="SIZE", help="The same with a size, as in 20G.")


@click.command("add")
@node_argument
@device_argument
@click.option("-w", "--weight", type=float, help="Its share of the data; its size in TiB when not given.")
@ratio_option
@size_option
@click.option("-c", "--osd-count", type=click.IntRange(min=1), default=1, show_default=True, help="How many to make.")
@yes_option
@wait_option()
@pass_session
def add_osd(session: Session, /, yes: bool, wait: bool, **options: Any) -> None:
    """Add OSDs on DEVICE of NODE.

    DEVICE is the path of an empty disk, or detect:NAME:SIZE:ID, with a part of the disk's model, its size as in 800GB,
    and which of such disks it is, from 0.
    """
    what = f"{options['osd_count']} OSD on {options['device']} of node {options['node']}"
    session.confirm(f"Make {what}? The whole disk is taken.", yes)
    _submit(session, "POST", (), options, wait)


@click.command("replace")
@osd_argument
@click.argument("new_device")
@click.option("-o", "--old-device", help="The disk that it is on now; refused where it is on another.")
@click.option("-w", "--weight", type=float, help="Its new share of the data; as before when not given.")
@ratio_option
@size_option
@click.option("-f", "--force", is_flag=True, help="Even if data is lost by it.")
@yes_option
@wait_option()
@pass_session
def replace_osd(session: Session, /, osdid: str, new_device: str, yes: bool, wait: bool, **options: Any) -> None:
    """Make the OSD OSDID anew on NEW_DEVICE of its node.

    Its number and place stay. What it holds is copied from the other OSDs; refused where they do not have all of it.
    """
    session.confirm(f"Give up what OSD {osdid} holds, and make it anew on {new_device}?", yes)
    _submit(session, "POST", (osdid,), {"new_device": new_device, **options}, wait)


@click.command("refresh")
@osd_argument
@device_argument
@click.option("-f", "--force", is_flag=True, help="Restart it even if data cannot be read meanwhile.")
@yes_option
@wait_option()
@pass_session
def refresh_osd(session: Session, osdid: str, device: str, force: bool, yes: bool, wait: bool) -> None:
    """Start the OSD OSDID from the DEVICE that it is on now."""
    session.confirm(f"Restart OSD {osdid} from {device}?", yes)
    _submit(session, "PUT", (osdid,), {"device": device, "force": force}, wait)


@click.command("remove")
@osd_argument
@click.option("-f", "--force", is_flag=True, help="Wait for nothing, even if data is lost, and go on past failures.")
@yes_option
@wait_option()
@pass_session
def remove_osd(session: Session, osdid: str, force: bool, yes: bool, wait: bool) -> None:
    """Remove the OSD OSDID, after all its data has moved off.

    That takes hours on a large disk. A task that is cancelled meanwhile leaves the OSD as it was.
    """
    from cli.tasks import submit

    session.confirm(f"Remove OSD {osdid}{', whether or not data is lost' if force else ''}?", yes)
    query = {"force": force, "yes-i-really-mean-it": "yes"}
    submit(session, "DELETE", route("storage", "ceph", "osd", osdid), query=query, wait=wait)


@click.command("in")
@osd_argument
@wait_option()
@pass_session
def in_osd(session: Session, osdid: str, wait: bool) -> None:
    """Let the OSD OSDID take data."""
    _submit(session, "POST", (osdid, "state"), {"state": "in"}, wait)


@click.command("out")
@osd_argument
@click.option("-f", "--force", is_flag=True, help="Even if fewer OSDs are left than a pool keeps copies.")
@wait_option()
@pass_session
def out_osd(session: Session, osdid: str, force: bool, wait: bool) -> None:
    """Let all data move off the OSD OSDID."""
    _submit(session, "POST", (osdid, "state"), {"state": "out", "force": force}, wait)


@click.command("set")
@property_argument
@wait_option()
@pass_session
def set_flag(session: Session, osd_property: str, wait: bool) -> None:
    """Set OSD_PROPERTY for all OSDs, such as noout."""
    _set_option(session, osd_property, "set", wait)


@click.command("unset")
@property_argument
@wait_option()
@pass_session
def unset_flag(session: Session, osd_property: str, wait: bool) -> None:
    """Clear OSD_PROPERTY for all OSDs."""
    _set_option(session, osd_property, "unset", wait)


@click.command("create-db-vg")
@node_argument
@device_argument
@yes_option
@wait_option()
@pass_session
def create_db_group(session: Session, node: str, device: str, yes: bool, wait: bool) -> None:
    """Keep the databases of NODE's OSDs on DEVICE.

    DEVICE is the path of an empty disk, or detect:NAME:SIZE:ID. Each node has one such disk at most.
    """
    from cli.tasks import submit

    session.confirm(f"Make {device} of node {node} the volume group for databases? The whole disk is taken.", yes)
    submit(session, "POST", route("storage", "ceph", "osddb"), body={"node": node, "device": device}, wait=wait)


@click.command("list")
@limit_argument
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_osds(session: Session, limit: str | None, style: str) -> None:
    """List OSDs.

    LIMIT is a regular expression that the number must match.
    """
    from cli.output import show_list
    from cli.tables.osds import OSDS

    show_list(session.client.get(route("storage", "ceph", "osd"), {"limit": limit}), style, OSDS)


def _set_option(session: Session, name: str, action: str, wait: bool) -> None:
    from cli.tasks import submit

    body = {"option": name, "action": action}
    submit(session, "POST", route("storage", "ceph", "option"), body=body, wait=wait)


def _submit(session: Session, method: str, path: tuple[str, ...], body: Mapping[str, object], wait: bool) -> None:
    from cli.tasks import submit

    submit(session, method, route("storage", "ceph", "osd", *path), body=body, wait=wait)


COMMANDS = [
    add_osd,
    create_db_group,
    in_osd,
    list_osds,
    out_osd,
    refresh_osd,
    remove_osd,
    replace_osd,
    set_flag,
    unset_flag,
]
