"""Logs of machines and nodes. The API answers with the last lines; what is new since the last look is found here."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from cli.errors import CliError, passes
from cli.output import log_text
from cli.session import Session

LINES = 100
LINES_BEFORE_FOLLOWING = 10
WINDOW = 500  # lines asked for while following: the most that may be new at one look without any being missed
INTERVAL = 1.0  # seconds between two looks


def show_log(session: Session, path: str, lines: int | None, follow: bool) -> None:
    """Print the last ``lines``, and with ``follow`` every new one until the person interrupts."""
    if not follow:
        _print(_read(session, path, lines or LINES))
        return
    lines = lines or LINES_BEFORE_FOLLOWING
    window = max(lines, WINDOW)
    try:
        shown = _read(session, path, window)
        _print(shown[-lines:])
        while True:
            time.sleep(INTERVAL)
            now = _read_patiently(session, path, window)
            _print(new_lines(shown, now))
            shown = now
    except KeyboardInterrupt:
        click.echo(err=True)


def new_lines(shown: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines of ``now`` that were not in ``shown``, both being the end of one growing log.

    The longest end of ``shown`` that begins ``now`` is what both have. The last line shown may have been read while it
    was still being written; when it has grown since, it counts as new.
    """
    for common in range(min(len(shown), len(now)), 0, -1):
        last, then = shown[-1], now[common - 1]
        if then.startswith(last) and shown[-common:-1] == now[: common - 1]:
            return now[common:] if then == last else now[common - 1 :]
    return now


def _read(session: Session, path: str, lines: int) -> list[str]:
    text = str(session.client.get(path, {"lines": lines}).get("data") or "")
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _read_patiently(session: Session, path: str, lines: int) -> list[str]:
    """Like ``_read``, through times in which the cluster does not answer."""
    noted = False
    while True:
        try:
            return _read(session, path, lines)
        except CliError as error:
            if not passes(error):
                raise
            if not noted:
                session.note(f"{error.message}; trying on")
                noted = True
            time.sleep(INTERVAL)


def _print(lines: Sequence[str]) -> None:
    if lines:
        click.echo("\n".join(log_text(line) for line in lines))
