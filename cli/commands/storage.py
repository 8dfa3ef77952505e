"""``pvc storage``: Ceph's status, pools and volumes."""

from __future__ import annotations

import click

from cli.commands.osd import create_db_group
from cli.lazy import LazyGroup
from cli.options import (
    complete_pool,
    format_option,
    limit_argument,
    pool_argument,
    volume_argument,
    wait_option,
    yes_option,
)
from cli.routes import route
from cli.session import Session, pass_session

pool_name_argument = click.argument("name", shell_complete=complete_pool)
pgs_argument = click.argument("pgs", type=click.IntRange(min=1))
overfill_option = click.option(
    "-f", "--force", is_flag=True, help="Even if the pool could then be filled beyond its safe limit."
)

# First bytes of image formats, so that an image is not copied as raw by mistake.
_MAGIC = {b"QFI\xfb": "qcow2", b"QED\x00": "qed", b"KDMV": "vmdk", b"conectix": "vpc"}
FORMATS = ("raw", "vmdk", "qcow2", "qed", "vdi", "vpc")


@click.command()
@format_option("pretty")
@pass_session
def status(session: Session, style: str) -> None:  # noqa: ARG001 - documented, with one choice
    """Show Ceph's own report of its state."""
    click.echo(session.client.get(route("storage", "ceph", "status"))["ceph_data"])


@click.command()
@format_option("pretty")
@pass_session
def util(session: Session, style: str) -> None:  # noqa: ARG001 - documented, with one choice
    """Show Ceph's own report of how full it is."""
    click.echo(session.client.get(route("storage", "ceph", "utilization"))["ceph_data"])


@click.command("add")
@click.argument("name")
@pgs_argument
@click.option(
    "-t",
    "--tier",
    type=click.Choice(["default", "hdd", "ssd", "nvme"]),
    default="default",
    show_default=True,
    help="Kind of disks to keep it on.",
)
@click.option(
    "--replcfg",
    default="copies=3,mincopies=2",
    show_default=True,
    help="How many copies are kept, and how many must be there for writing to go on.",
)
@wait_option()
@pass_session
def add_pool(session: Session, name: str, pgs: int, tier: str, replcfg: str, wait: bool) -> None:
    """Add the pool NAME with PGS placement groups."""
    from cli.tasks import submit

    body = {"pool": name, "pgs": pgs, "tier": tier, "replcfg": replcfg}
    submit(session, "POST", route("storage", "ceph", "pool"), body=body, wait=wait)


@click.command("remove")
@pool_name_argument
@yes_option
@wait_option()
@pass_session
def remove_pool(session: Session, name: str, yes: bool, wait: bool) -> None:
    """Remove the pool NAME with all that is in it."""
    from cli.tasks import submit

    session.confirm(f"Remove pool {name} with all its volumes, for good?", yes)
    path = route("storage", "ceph", "pool", name)
    submit(session, "DELETE", path, query={"yes-i-really-mean-it": "yes"}, wait=wait)


@click.command("set-pgs")
@pool_name_argument
@pgs_argument
@yes_option
@wait_option()
@pass_session
def set_pgs(session: Session, name: str, pgs: int, yes: bool, wait: bool) -> None:
    """Change the pool NAME to PGS placement groups."""
    from cli.tasks import submit

    session.confirm(f"Change pool {name} to {pgs} placement groups? Ceph will move data.", yes)
    submit(session, "PUT", route("storage", "ceph", "pool", name), body={"pgs": pgs}, wait=wait)


@click.command("set-replcfg")
@pool_name_argument
@click.argument("replcfg")
@yes_option
@wait_option()
@pass_session
def set_replcfg(session: Session, name: str, replcfg: str, yes: bool, wait: bool) -> None:
    """Change how many copies the pool NAME keeps.

    REPLCFG is of the form copies=3,mincopies=2: how many are kept, and how many must be there for writing to go on.
    """
    from cli.tasks import submit

    session.confirm(f"Change pool {name} to {replcfg}? Ceph will make or drop copies.", yes)
    submit(session, "PUT", route("storage", "ceph", "pool", name), body={"replcfg": replcfg}, wait=wait)


@click.command("list")
@limit_argument
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_pools(session: Session, limit: str | None, style: str) -> None:
    """List pools.

    LIMIT is a regular expression that the name must match.
    """
    from cli.output import show_list
    from cli.tables.storage import POOLS

    show_list(session.client.get(route("storage", "ceph", "pool"), {"limit": limit}), style, POOLS)


@click.command("add")
@pool_argument
@click.argument("name")
@click.argument("size")
@overfill_option
@wait_option()
@pass_session
def add_volume(session: Session, pool: str, name: str, size: str, force: bool, wait: bool) -> None:
    """Add the volume NAME to POOL. SIZE is in bytes, or has a suffix as in 20G."""
    from cli.tasks import submit

    body = {"pool": pool, "volume": name, "size": size, "force": force}
    submit(session, "POST", route("storage", "ceph", "volume"), body=body, wait=wait)


@click.command("resize")
@pool_argument
@volume_argument
@click.argument("size")
@overfill_option
@yes_option
@wait_option()
@pass_session
def resize_volume(session: Session, pool: str, name: str, size: str, force: bool, yes: bool, wait: bool) -> None:
    """Let the volume NAME of POOL grow to SIZE.

    SIZE is in bytes, or has a suffix as in 20G. A volume cannot shrink again.
    """
    session.confirm(f"Let volume {pool}/{name} grow to {size}?", yes)
    _modify_volume(session, pool, name, wait, new_size=size, force=force)


@click.command("rename")
@pool_argument
@volume_argument
@click.argument("new_name")
@yes_option
@wait_option()
@pass_session
def rename_volume(session: Session, pool: str, name: str, new_name: str, yes: bool, wait: bool) -> None:
    """Rename the volume NAME of POOL to NEW_NAME."""
    session.confirm(f"Rename volume {pool}/{name} to {new_name}?", yes)
    _modify_volume(session, pool, name, wait, new_name=new_name)


def _modify_volume(session: Session, pool: str, name: str, wait: bool, **body: object) -> None:
    from cli.tasks import submit

    submit(session, "PUT", route("storage", "ceph", "volume", pool, name), body=body, wait=wait)


@click.command("clone")
@pool_argument
@volume_argument
@click.argument("new_name")
@overfill_option
@wait_option()
@pass_session
def clone_volume(session: Session, pool: str, name: str, new_name: str, force: bool, wait: bool) -> None:
    """Copy the volume NAME of POOL to NEW_NAME in the same pool."""
    from cli.tasks import submit

    path = route("storage", "ceph", "volume", pool, name, "clone")
    submit(session, "POST", path, body={"new_volume": new_name, "force": force}, wait=wait)


@click.command("remove")
@pool_argument
@volume_argument
@yes_option
@wait_option()
@pass_session
def remove_volume(session: Session, pool: str, name: str, yes: bool, wait: bool) -> None:
    """Remove the volume NAME of POOL."""
    from cli.tasks import submit

    session.confirm(f"Remove volume {pool}/{name} with all its data, for good?", yes)
    submit(session, "DELETE", route("storage", "ceph", "volume", pool, name), wait=wait)


@click.command("list")
@limit_argument
@click.option("-p", "--pool", shell_complete=complete_pool, help="Only volumes of this pool.")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_volumes(session: Session, limit: str | None, pool: str | None, style: str) -> None:
    """List volumes.

    LIMIT is a regular expression that the name must match.
    """
    from cli.output import show_list
    from cli.tables.storage import VOLUMES

    query = {"limit": limit, "pool": pool}
    show_list(session.client.get(route("storage", "ceph", "volume"), query), style, VOLUMES)


@click.command("upload")
@pool_argument
@click.argument("name")
@click.argument("image_file", type=click.Path(exists=True, dir_okay=False, readable=True))
@click.option(
    "-f",
    "--format",
    "image_format",
    type=click.Choice(FORMATS),
    help="Format of the image; told from its first bytes when not given, and raw when they say nothing.",
)
@wait_option()
@pass_session
def upload(session: Session, pool: str, name: str, image_file: str, image_format: str | None, wait: bool) -> None:
    """Write IMAGE_FILE into the volume NAME of POOL.

    The volume must be there, and large enough for the image in raw form.
    """
    import sys
    from pathlib import Path

    from cli.tasks import finish

    size = Path(image_file).stat().st_size
    with Path(image_file).open("rb") as stream:
        query = {"image_format": image_format or _format_of(stream.read(8)), "file_size": size}
        stream.seek(0)
        path = route("storage", "ceph", "volume", pool, name, "upload")
        label = f"Sending {Path(image_file).name}"
        hidden = session.quiet or not sys.stderr.isatty()
        with click.progressbar(length=size, label=label, file=sys.stderr, hidden=hidden) as bar:
            answer = session.client.upload(path, query, stream, Path(image_file).name, size, bar.update)
    finish(session, answer, wait)


def _format_of(first: bytes) -> str:
    return next((name for magic, name in _MAGIC.items() if first.startswith(magic)), "raw")


POOL = [add_pool, list_pools, remove_pool, set_pgs, set_replcfg]
VOLUME = [
    add_volume,
    clone_volume,
    list_volumes,
    remove_volume,
    rename_volume,
    resize_volume,
    LazyGroup("snapshot", "Snapshots of single volumes.", "cli.commands.volume_snapshot:COMMANDS"),
    upload,
]
COMMANDS = [
    LazyGroup("benchmark", "How fast pools are.", "cli.commands.benchmark:COMMANDS"),
    create_db_group,
    LazyGroup("osd", "OSDs: the daemons that keep the data on disks.", "cli.commands.osd:COMMANDS"),
    LazyGroup("pool", "Pools of storage.", "cli.commands.storage:POOL"),
    status,
    util,
    LazyGroup("volume", "Volumes: the disks of machines.", "cli.commands.storage:VOLUME"),
]
