"""``pvc cluster``: the cluster as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import click

from cli.lazy import LazyGroup
from cli.options import complete_task, format_option, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session


@click.command()
@format_option("pretty", "short", "json", "json-pretty")
@pass_session
def status(session: Session, style: str) -> None:
    """Show the cluster's health, its parts and their use."""
    from cli.output import show_item
    from cli.tables.cluster import CLUSTER, CLUSTER_SHORT

    show_item(session.client.get(route("status")), style, CLUSTER_SHORT if style == "short" else CLUSTER)


@click.command()
@click.argument("task_id", required=False, shell_complete=complete_task)
@click.option(
    "--wait/--no-wait",
    "wait",
    default=True,
    show_default=True,
    help="Wait for the end of TASK_ID, or show it as it is.",
)
@click.option("--cancel", is_flag=True, help="Cancel TASK_ID: at once before it begins, else at its next step.")
@format_option("pretty", "raw", "json", "json-pretty")
@pass_session
def task(session: Session, task_id: str | None, wait: bool, cancel: bool, style: str) -> None:
    """List the newest tasks, or show the one with TASK_ID.

    While a task that is waited for runs, Ctrl-C leaves it running or cancels it.
    """
    if task_id:
        _one_task(session, task_id, wait, cancel, style)
    elif cancel:
        raise click.UsageError("--cancel needs the TASK_ID of the task to cancel.")
    else:
        _list_tasks(session, style)


def _list_tasks(session: Session, style: str) -> None:
    from cli.output import show_list
    from cli.tables.cluster import TASKS

    document = session.client.get(route("tasks"))
    show_list(document["tasks"], style, TASKS, document)


def _one_task(session: Session, task_id: str, wait: bool, cancel: bool, style: str) -> None:
    """Exits with 1 when the task was waited for and did not succeed."""
    from cli import tasks
    from cli.output import show_item, show_list
    from cli.tables.cluster import TASK, TASKS

    if cancel:
        tasks.cancel(session, task_id)
    found = tasks.follow(session, task_id) if wait else session.client.get(route("tasks", task_id))
    if style == "raw":
        show_list([found], style, TASKS)
    else:
        show_item(found, style, TASK)
    if wait and found["state"] != (tasks.CANCELLED if cancel else tasks.SUCCESS):
        raise click.exceptions.Exit(1)


@click.command()
@wait_option()
@pass_session
def on(session: Session, wait: bool) -> None:
    """Begin maintenance: nodes that fail are not fenced."""
    _maintain(session, True, wait)


@click.command()
@wait_option()
@pass_session
def off(session: Session, wait: bool) -> None:
    """End maintenance."""
    _maintain(session, False, wait)


def _maintain(session: Session, enabled: bool, wait: bool) -> None:
    from cli.tasks import submit

    submit(session, "POST", route("status"), body={"state": enabled}, wait=wait)


@click.command()
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it; compressed where the name ends in .gz. [default: standard output]",
)
@pass_session
def backup(session: Session, path: Path | None) -> None:
    """Back the cluster's configuration up.

    What is in the disks of VMs is not in it; hashes of passwords and the keys of other clusters are. The file is
    readable for you alone: keep it like a password.
    """
    from cli import backups

    document = session.client.get(route("backup"))
    if path is None:
        click.echo(backups.text(document))
        return
    backups.write(path, document)
    session.say(f"The configuration of cluster {session.client.connection.name} is in {path}.")


@click.command()
@click.option(
    "-f", "--filename", "stream", type=click.File("rb"), required=True, help="The backup; - for standard input."
)
@yes_option
@wait_option()
@pass_session
def restore(session: Session, stream: IO[bytes], yes: bool, wait: bool) -> None:
    """Put a backup in the place of the cluster's configuration.

    VMs, networks, users, keys and schedules become what they were, all or nothing; what Ceph stores is not touched.
    VMs that run must be in the backup as they are. Your own key becomes the one that you had then.
    """
    from cli import backups
    from cli.tasks import submit

    text = backups.read(stream)
    session.confirm("Replace the configuration of the whole cluster by this backup?", yes)
    submit(session, "POST", route("restore"), query=SURE, body={"cluster_data": text}, wait=wait)


@click.command()
@click.option("-o", "--overwrite", is_flag=True, help="Erase the configuration that there is.")
@yes_option
@wait_option()
@pass_session
def init(session: Session, overwrite: bool, yes: bool, wait: bool) -> None:
    """Begin with an empty configuration.

    Users, keys and schedules stay, as do nodes that run; what Ceph stores is not touched.
    """
    from cli.tasks import submit

    session.confirm("Erase the configuration of the whole cluster?" if overwrite else "Initialize the cluster?", yes)
    submit(session, "POST", route("initialize"), query=SURE | {"overwrite": overwrite}, wait=wait)


SURE = {"yes-i-really-mean-it": "yes"}
MAINTENANCE = [off, on]
COMMANDS = [
    backup,
    LazyGroup("fault", "Faults: what went wrong, until it is over and was seen.", "cli.commands.fault:COMMANDS"),
    init,
    LazyGroup("maintenance", "Maintenance mode, for planned work.", "cli.commands.cluster:MAINTENANCE"),
    restore,
    status,
    task,
]
