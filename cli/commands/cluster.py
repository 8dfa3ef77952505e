"""``pvc cluster``: the cluster as a whole."""

from __future__ import annotations

import click

from cli.lazy import LazyGroup
from cli.options import complete_task, format_option, wait_option
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


MAINTENANCE = [off, on]
COMMANDS = [
    LazyGroup("fault", "Faults: what went wrong, until it is over and was seen.", "cli.commands.fault:COMMANDS"),
    LazyGroup("maintenance", "Maintenance mode, for planned work.", "cli.commands.cluster:MAINTENANCE"),
    status,
    task,
]
