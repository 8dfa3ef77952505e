"""Steps on the terminal, each with its seconds, also when several go on side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click


@dataclass
class Outcome:
    """What a step has to tell once it has ended well."""

    text: str = ""


class Progress:
    """Prints a line for each step that has ended: seconds since the beginning, what was done, how long it took."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @contextmanager
    def step(self, what: str) -> Iterator[Outcome]:
        began = self.seconds
        outcome = Outcome()
        try:
            yield outcome
        except BaseException:
            self._line(click.style("failed", fg="red"), what, began)
            raise
        self._line(click.style("done", fg="green"), f"{what}{outcome.text and ': '}{outcome.text}", began)

    def _line(self, outcome: str, what: str, began: float) -> None:
        click.echo(f"{self.seconds:6.1f} s  {outcome}  {what} ({self.seconds - began:.1f} s)")
