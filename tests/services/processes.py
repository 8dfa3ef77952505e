"""Processes of the task system, as tests start and kill them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def lines(path: str) -> list[str]:
    """What a probe has written."""
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []


def until(condition: Callable[[], object], timeout: float = 30.0) -> None:
    """Wait for a condition that nothing announces. Fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not so within {timeout:g} s"
        time.sleep(0.05)


class Workers:
    """Processes by name: ``beat``, and the workers ``control`` and ``bulk`` with fake drivers."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a process, without waiting for it."""
        script = Path(__file__).with_name("process.py")
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(script), name],
                env=os.environ | {"PYTHONPATH": str(script.parents[2])},
                stderr=log,
                stdout=log,
            )
        self._processes[name] = process
        return process

    def kill(self, name: str) -> None:
        """As the kernel does when memory is short."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str, timeout: float = 60.0) -> int:
        """End it in good order; its exit status."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(timeout)

    def log(self, name: str) -> str:
        return self._log(name).read_text()

    def close(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"
