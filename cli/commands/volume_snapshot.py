"""``pvc storage volume snapshot``."""

from __future__ import annotations

import click

from cli.options import (
    complete_pool,
    complete_volume,
    format_option,
    limit_argument,
    pool_argument,
    wait_option,
    yes_option,
)
from cli.routes import route
from cli.session import Session, pass_session

volume_argument = click.argument("volume", shell_complete=complete_volume)
name_argument = click.argument("name")


@click.command("add")
@pool_argument
@volume_argument
@name_argument
@click.option("-f", "--force", is_flag=True, help="Even if the pool is filled beyond its safe limit.")
@wait_option()
@pass_session
def add(session: Session, pool: str, volume: str, name: str, force: bool, wait: bool) -> None:
    """Take the snapshot NAME of VOLUME in POOL, which may be in use."""
    from cli.tasks import submit

    body = {"pool": pool, "volume": volume, "snapshot": name, "force": force}
    submit(session, "POST", route("storage", "ceph", "snapshot"), body=body, wait=wait)


@click.command("rename")
@pool_argument
@volume_argument
@name_argument
@click.argument("new_name")
@wait_option()
@pass_session
def rename(session: Session, pool: str, volume: str, name: str, new_name: str, wait: bool) -> None:
    """Rename the snapshot NAME of VOLUME in POOL to NEW_NAME."""
    _modify(session, pool, volume, name, wait, new_name=new_name)


@click.command("protect")
@pool_argument
@volume_argument
@name_argument
@wait_option()
@pass_session
def protect(session: Session, pool: str, volume: str, name: str, wait: bool) -> None:
    """Keep the snapshot NAME of VOLUME in POOL from being removed."""
    _modify(session, pool, volume, name, wait, protected=True)


@click.command("unprotect")
@pool_argument
@volume_argument
@name_argument
@wait_option()
@pass_session
def unprotect(session: Session, pool: str, volume: str, name: str, wait: bool) -> None:
    """Let the snapshot NAME of VOLUME in POOL be removed again."""
    _modify(session, pool, volume, name, wait, protected=False)


@click.command("rollback")
@pool_argument
@volume_argument
@name_argument
@yes_option
@wait_option()
@pass_session
def rollback(session: Session, pool: str, volume: str, name: str, yes: bool, wait: bool) -> None:
    """Make VOLUME in POOL what it was at the snapshot NAME.

    All that was written since is lost. No VM may run on the volume meanwhile.
    """
    from cli.tasks import submit

    session.confirm(f"Roll volume {pool}/{volume} back to {name}, and lose what was written since?", yes)
    submit(session, "POST", _path(pool, volume, name, "rollback"), wait=wait)


@click.command("remove")
@pool_argument
@volume_argument
@name_argument
@yes_option
@wait_option()
@pass_session
def remove(session: Session, pool: str, volume: str, name: str, yes: bool, wait: bool) -> None:
    """Remove the snapshot NAME of VOLUME in POOL."""
    from cli.tasks import submit

    session.confirm(f"Remove snapshot {name} of volume {pool}/{volume}, for good?", yes)
    submit(session, "DELETE", _path(pool, volume, name), wait=wait)


@click.command("list")
@limit_argument
@click.option("-p", "--pool", shell_complete=complete_pool, help="Only snapshots in this pool.")
@click.option("-o", "--volume", help="Only snapshots of volumes of this name.")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def list_(session: Session, limit: str | None, pool: str | None, volume: str | None, style: str) -> None:
    """List snapshots of volumes.

    LIMIT is a regular expression that the snapshot's name must match.
    """
    from cli.output import show_list
    from cli.tables.storage import SNAPSHOTS

    query = {"limit": limit, "pool": pool, "volume": volume}
    show_list(session.client.get(route("storage", "ceph", "snapshot"), query), style, SNAPSHOTS)


def _modify(session: Session, pool: str, volume: str, name: str, wait: bool, **body: object) -> None:
    from cli.tasks import submit

    submit(session, "PUT", _path(pool, volume, name), body=body, wait=wait)


def _path(pool: str, volume: str, name: str, *more: str) -> str:
    return route("storage", "ceph", "snapshot", pool, volume, name, *more)


COMMANDS = [add, list_, protect, remove, rename, rollback, unprotect]
