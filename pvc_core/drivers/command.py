"""Other programs, run to their end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from pvc_core.errors import DriverError

TIMEOUT = 120.0  # seconds


def run(
    command: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> str:
    """What the command prints, with ``given`` as its input. Raises DriverError with its last words when it fails."""
    try:
        result = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DriverError(f"{command[0]} did not end within {timeout:g} s") from None
    except OSError as error:
        raise DriverError(f"{command[0]} cannot be run: {error.strerror}") from None
    if result.returncode != 0:
        words = (result.stderr.strip() or result.stdout.strip()).splitlines()
        raise DriverError(f"{' '.join(command[:4])}: {words[-1] if words else f'status {result.returncode}'}")
    return result.stdout.strip()
