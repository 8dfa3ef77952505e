"""Programs of this node."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pvc_core.errors import Cancelled, DriverError

LOOK = 0.5  # seconds between two looks whether it is to be ended
LAST_WORDS = 500  # characters of what it wrote
PATIENCE = 5.0  # seconds to end after SIGTERM
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class NodeCommands:
    """See ``pvc_core.ports.Commands``. A program gets a process group of its own, which is ended as a whole, and
    nothing of our environment."""

    def run(self, command: Sequence[str], timeout: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        # A file, since a daemon that the program leaves behind may hold a pipe open for ever.
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=ENVIRONMENT,
                )
            except OSError as error:
                raise DriverError(f"{command[0]} cannot be run: {error.strerror}") from None
            status = _wait(process, time.monotonic() + timeout, cancelled)
            if status is None:
                _end(process)
                if cancelled():
                    raise Cancelled(f"{command[0]} was ended, as the task is cancelled")
                raise DriverError(f"{command[0]} was ended, as it took longer than {timeout:.0f} s")
            if status:
                output.seek(max(0, output.tell() - LAST_WORDS))
                words = " ".join(output.read().decode(errors="replace").split())
                raise DriverError(f"{command[0]} ended with status {status}{': ' if words else ''}{words}")


def _wait(process: subprocess.Popen[bytes], deadline: float, cancelled: Callable[[], bool]) -> int | None:
    while time.monotonic() < deadline and not cancelled():
        with suppress(subprocess.TimeoutExpired):
            return process.wait(min(LOOK, max(0.0, deadline - time.monotonic())))
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
            return
