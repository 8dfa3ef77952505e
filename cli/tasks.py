"""From the answer to a write to its end: wait with a progress bar, let the person leave or cancel, say how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from cli.client import Client, Query
from cli.errors import INTERRUPTED, CliError, TaskFailed, Unreachable, passes
from cli.routes import route
from cli.session import Session

Task = Mapping[str, Any]

POLL = 10  # seconds the server may hold back its answer until something changes
PATIENCE = 60.0  # seconds without any answer, in which another coordinator takes over
RETRY = 0.5  # seconds
SUCCESS = "SUCCESS"
CANCELLED = "REVOKED"
ENDED = (SUCCESS, "FAILURE", CANCELLED)


def submit(
    session: Session,
    method: str,
    path: str,
    *,
    query: Query | None = None,
    body: Query | None = None,
    wait: bool = True,
) -> None:
    """Make a write, see it through (or not, without ``wait``) and say how it ended. Raises Refused or TaskFailed."""
    finish(session, session.client.write(method, path, query, body), wait)


def finish(session: Session, answer: Mapping[str, Any], wait: bool) -> None:
    """See through the write that was answered with ``answer``."""
    task_id = answer.get("task_id")
    if not task_id:
        session.say(str(answer.get("message", "Done.")))
    elif wait:
        conclude(session, follow(session, task_id))
    elif session.quiet:
        click.echo(task_id)
    else:
        click.echo(f"Task {task_id} was accepted; `pvc cluster task {task_id}` shows how it goes.")


def follow(session: Session, task_id: str) -> Task:
    """Wait for the end of a task, showing its progress. Answers its final document."""
    bar = Bar(enabled=not session.quiet and sys.stderr.isatty())
    seen: Task = {"state": "PENDING", "status": "accepted"}
    bar.show(seen)
    while True:
        try:
            task = _look(session.client, task_id)
            bar.show(task)
            if task["state"] in ENDED:
                bar.clear()
                return task
            if task == seen:
                time.sleep(RETRY)  # the server answered early though nothing changed; do not press it
            seen = task
        except KeyboardInterrupt:
            bar.clear()
            _interrupted(session, task_id)


def conclude(session: Session, task: Task) -> None:
    """Say how a task ended. Raises TaskFailed unless it succeeded."""
    if task["state"] == SUCCESS:
        result = task.get("result")
        message = result.get("message") if isinstance(result, Mapping) else result
        session.say(str(message or task.get("status") or "Done."))
        return
    message = (task.get("error") or {}).get("message") or task.get("status") or "it gave no reason"
    ended = "was cancelled" if task["state"] == CANCELLED else "failed"
    raise TaskFailed(f"task {task['task_id']} {ended}: {message}", task.get("left") or ())


def _look(client: Client, task_id: str) -> Task:
    """The task at its next change or end. Bears with a cluster that does not answer for a while, as during a change of
    its primary: the task does not depend on this command."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            task: Task = client.get(route("tasks", task_id), {"wait": POLL})
            return task
        except CliError as error:
            if not passes(error):
                raise
            if time.monotonic() >= deadline:
                raise Unreachable(
                    f"{error.message}. Task {task_id} goes on; `pvc cluster task {task_id}` shows it"
                ) from None
            time.sleep(RETRY)


def _interrupted(session: Session, task_id: str) -> None:
    """Returns when the person wants to go on waiting, for the end or for the cancelling to take effect."""
    choice = "leave"
    if session.interactive():
        choice = click.prompt(
            f"\nTask {task_id} is still running. Leave it running, cancel it, or wait on?",
            type=click.Choice(["leave", "cancel", "wait"]),
            default="leave",
            err=True,
        )
    if choice == "cancel":
        cancel(session, task_id)
    elif choice == "leave":
        click.echo(f"Task {task_id} goes on; `pvc cluster task {task_id}` shows it.", err=True)
        raise click.exceptions.Exit(INTERRUPTED)


def cancel(session: Session, task_id: str) -> None:
    """Ask for a task to be cancelled. It stops at its next step."""
    answer = session.client.write("DELETE", route("tasks", task_id))
    session.note(str(answer.get("message", f"Task {task_id} is asked to stop.")))


class Bar:
    """One line on the terminal that shows how far a task is."""

    CELLS = 24

    def __init__(self, enabled: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._enabled = enabled
        self._clock = clock
        self._began = clock()

    def show(self, task: Task) -> None:
        if not self._enabled:
            return
        total = max(1, int(task.get("total") or 1))
        done = min(total, int(task.get("current") or 0))
        filled = self.CELLS * done // total
        bar = "█" * filled + "░" * (self.CELLS - filled)
        self._draw(f"{bar} {done}/{total}  {self._clock() - self._began:.0f} s  {task.get('status') or task['state']}")

    def clear(self) -> None:
        if self._enabled:
            self._draw("")

    @staticmethod
    def _draw(text: str) -> None:
        import shutil

        from cli.output import as_text

        columns = shutil.get_terminal_size().columns
        line = as_text(text)[: columns - 1] if text else ""
        click.echo(f"\r\x1b[2K{line}", nl=False, err=True, color=True)
