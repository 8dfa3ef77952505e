"""What the commands that change a machine's description have in common: fetch it, ask about the restart, send it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from cli.routes import route
from cli.session import Session

Vm = Mapping[str, Any]

# States in which a QEMU process may be there, whose hardware differs from a changed description until it is restarted.
RUNNING = ("start", "restart", "migrate", "shutdown")


def fetch(session: Session, domain: str) -> Vm:
    vm: Vm = session.client.get(route("vm", domain))
    return vm


def runs(vm: Vm) -> bool:
    return vm["state"] in RUNNING


def decide_restart(session: Session, vm: Vm, restart: bool | None, yes: bool) -> bool:
    """Whether to restart the machine for a change: as was said, else as the person answers, else not.

    Asking for a restart is confirmed like any other, so this may raise Abort.
    """
    if not runs(vm) or restart is False:
        if restart is not True:
            _note_later(session, vm)
        return False
    question = f"Restart {vm['name']} now, so that the change takes effect?"
    if restart:
        session.confirm(question, yes)
        return True
    if yes or session.unsafe:
        return True
    if session.interactive() and click.confirm(question, err=True):
        return True
    _note_later(session, vm)
    return False


def store(session: Session, vm: Vm, xml: str, *, restart: bool, wait: bool) -> None:
    """Make ``xml`` the description of the machine."""
    from cli.tasks import submit

    submit(session, "PUT", route("vm", vm["uuid"]), body={"xml": xml, "restart": restart}, wait=wait)


def _note_later(session: Session, vm: Vm) -> None:
    if runs(vm):
        session.note(f"{vm['name']} runs on as it is; the change takes effect when it is restarted.")
