"""The command ``ip`` (iproute2)."""

from __future__ import annotations

import subprocess

from pvc_core.errors import DriverError

TIMEOUT = 10.0  # seconds for one call


def ip(*arguments: str) -> str:
    """Its output. Raises DriverError with what it complains about."""
    try:
        result = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except FileNotFoundError:
        raise DriverError("the command ip is missing: install iproute2") from None
    except subprocess.TimeoutExpired:
        raise DriverError(f"ip {' '.join(arguments)} did not end within {TIMEOUT:g} s") from None
    if result.returncode != 0:
        raise DriverError(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout
