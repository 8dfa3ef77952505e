"""A program that asks a BMC: run with a limit of time, and with its secrets where no list of processes shows them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from pvc_core.errors import DriverError, DriverUnavailable


def run(
    argv: Sequence[str], timeout: float, *, stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in an environment of its own. Raises DriverUnavailable when it was killed for taking
    longer than ``timeout`` seconds, DriverError when it is not installed."""
    try:
        return subprocess.run(
            argv,
            input=stdin,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=max(timeout, 0.1),
            check=False,
        )
    except FileNotFoundError:
        raise DriverError(f"the program {argv[0]} is not installed on this node") from None
    except subprocess.TimeoutExpired:
        raise DriverUnavailable("it does not answer in time") from None
