"""What goes wrong in the laboratory."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

COMPLAINT_LINES = 10


class LabError(Exception):
    """A sentence for the person at the terminal: what failed, and what to do about it."""


def run(*argv: str, stdin: str | None = None) -> str:
    """Output of a command. Raises LabError with the command and the end of what it complained of."""
    try:
        result = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    except FileNotFoundError:
        raise LabError(f"the command {argv[0]} is missing; install the packages of requirements/debian.txt") from None
    if result.returncode != 0:
        complaint = (result.stderr or result.stdout).strip().splitlines()[-COMPLAINT_LINES:]
        raise LabError(f"{shlex.join(argv)}: " + ("\n".join(complaint) or f"status {result.returncode}"))
    return result.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Whether a command exits with 0; its output is dropped."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
