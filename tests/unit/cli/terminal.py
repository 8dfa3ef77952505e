"""``pvc`` as a process of its own on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "cli.main")
PATIENCE = 10  # seconds


class Terminal:
    """A process whose standard streams are a pseudo-terminal. Ends it on leaving, if it has not ended."""

    def __init__(self, *arguments: str) -> None:
        self._controller, theirs = pty.openpty()
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen([*COMMAND, *arguments], cwd=ROOT, start_new_session=True, **streams)
        os.close(theirs)
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._controller)

    def wait_for(self, text: str) -> str:
        """All that was shown until ``text`` was."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert self._read(deadline), f"no {text!r} in {self.seen!r}"
        return self.seen

    def rest(self) -> str:
        """All that was shown until it ended."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.seen

    def type(self, text: str) -> None:
        os.write(self._controller, text.encode())

    def _read(self, deadline: float) -> bool:
        ready = select.select([self._controller], [], [], max(0.0, deadline - time.monotonic()))[0]
        assert ready, f"nothing more after {self.seen!r}"
        try:
            self.seen += os.read(self._controller, 65536).decode()
        except OSError:  # Linux answers EIO once the other side is closed
            return False
        return True


def on_terminal(*arguments: str) -> str:
    with Terminal(*arguments) as terminal:
        return terminal.rest()
