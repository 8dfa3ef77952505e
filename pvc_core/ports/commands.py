"""Programs of this node that an administrator has named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Commands(Protocol):
    def run(self, command: Sequence[str], timeout: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        """Run a program with these arguments, without a shell, and wait for it; it is ended after ``timeout`` seconds
        or when ``cancelled`` turns true. Raises DriverError with its last words unless it ends with status 0, and
        Cancelled."""
        ...
