"""What ends a node that cannot end itself: its BMC, and the watchdog."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from pvc_core.model.node import Bmc


class Watchdog(Protocol):
    """A timer that resets this node unless it is put off again and again."""

    def put_off(self) -> None:
        """Begin its time anew."""
        ...

    def close(self) -> None:
        """Disarm it."""
        ...


class PowerState(StrEnum):
    ON = "on"
    OFF = "off"


class Power(Protocol):
    """The power switches of other nodes: their BMCs. Each call asks the BMC and ends within ten seconds."""

    def state(self, node: str, bmc: Bmc) -> PowerState:
        """What the BMC says now. Raises DriverUnavailable when it does not answer, DriverError when it refuses or says
        what is neither on nor off."""
        ...

    def off(self, node: str, bmc: Bmc) -> None:
        """Have the power cut at once. That the BMC accepts this proves nothing: ask for the state."""
        ...

    def on(self, node: str, bmc: Bmc) -> None:
        """Have the power switched on."""
        ...
