"""Programs that do nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pvc_core.errors import DriverError


class FakeCommands:
    """See ``pvc_core.ports.Commands``. ``failing`` has the words of each program that fails."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, ...]] = []
        self.failing: dict[str, str] = {}

    def run(self, command: Sequence[str], timeout: float, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.ran.append(tuple(command))
        if command[0] in self.failing:
            raise DriverError(f"{command[0]} ended with status 1: {self.failing[command[0]]}")
