"""What one run of ``pvc`` shares: its global options, the chosen connection, and how it talks to the person."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cli.client import Client


@dataclass
class Session:
    """``quiet`` hides progress and notes, ``silent`` successes as well, ``unsafe`` answers questions with yes."""

    connection: str | None = None
    debug: bool = False
    quiet: bool = False
    silent: bool = False
    unsafe: bool = False

    @cached_property
    def client(self) -> Client:
        """The client of the chosen connection. Raises NoAccess when there is none to choose."""
        from cli import connections
        from cli.client import Client

        known = connections.load()
        chosen = connections.choose(known, self.connection)
        if len(known) > 1 and sys.stderr.isatty():
            self.note(f"Cluster {chosen.name} at {chosen.url}")
        return Client(chosen, trace=self._trace if self.debug else None)

    def say(self, message: str) -> None:
        """A message of success."""
        if not self.silent:
            click.echo(message)

    def note(self, message: str) -> None:
        """Something worth knowing beside the result; on stderr, so that output stays clean for programs."""
        if not self.quiet:
            click.echo(message, err=True)

    def confirm(self, question: str, yes: bool) -> None:
        """Go on only when the person agrees, now or beforehand (``yes``, --unsafe). Raises Abort otherwise."""
        if not (yes or self.unsafe):
            click.confirm(question, abort=True, err=True)

    @staticmethod
    def interactive() -> bool:
        return sys.stdin.isatty()

    @staticmethod
    def _trace(line: str) -> None:
        click.echo(click.style(line, dim=True), err=True)


pass_session = click.make_pass_decorator(Session)
