"""What ends a command, and its exit code: 1 refused or failed, 2 wrong usage (click's own), 3 no way to the cluster."""

from __future__ import annotations

from collections.abc import Sequence

import click

INTERRUPTED = 130  # 128 + SIGINT, as shells count it


class CliError(click.ClickException):
    """The request cannot be made, or ended badly. Shown as ``Error: message`` on stderr."""

    exit_code = 1


class Refused(CliError):
    """The API turned the request down with ``status``; ``code`` is its stable name for the reason."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class TaskFailed(CliError):
    """A task ended without success. ``left`` says what it could not undo."""

    def __init__(self, message: str, left: Sequence[str] = ()) -> None:
        lines = [message, *(f"  left behind: {item}" for item in left)]
        super().__init__("\n".join(lines))


class NoAccess(CliError):
    """There is no connection to choose, or the cluster does not accept its API key."""

    exit_code = 3


class Unreachable(CliError):
    """The cluster does not answer, or what answers is no PVC API. The same call may succeed later."""

    exit_code = 3


def passes(error: CliError) -> bool:
    """Whether the same call may succeed soon: the cluster, or a part of it that is needed, does not answer now."""
    return isinstance(error, Unreachable) or (isinstance(error, Refused) and error.status == 503)
