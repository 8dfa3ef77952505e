"""The power switches of a cluster's nodes, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from enum import StrEnum

from pvc_core.errors import DriverUnavailable
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState


class Behaviour(StrEnum):
    OBEYS = "obeys"
    SILENT = "silent"  # does not answer
    DEAF = "deaf"  # takes the command, does nothing, and says so when asked
    LIES = "lies"  # takes the command, does nothing, and claims to have done it


class FakePower:
    """A test sets ``behaviours`` and reads or sets ``states``, by node. ``on_off`` and ``on_on`` are called with each
    node whose power really changes."""

    def __init__(self, on_off: Callable[[str], None] | None = None, on_on: Callable[[str], None] | None = None) -> None:
        self.states: defaultdict[str, PowerState] = defaultdict(lambda: PowerState.ON)
        self.behaviours: defaultdict[str, Behaviour] = defaultdict(lambda: Behaviour.OBEYS)
        self._claims: dict[str, PowerState] = {}
        self._listeners = {PowerState.OFF: on_off, PowerState.ON: on_on}

    def state(self, node: str, bmc: Bmc) -> PowerState:
        behaviour = self._answer(node)
        state = self.states[node]
        return self._claims.get(node, state) if behaviour is Behaviour.LIES else state

    def off(self, node: str, bmc: Bmc) -> None:
        self._switch(node, PowerState.OFF)

    def on(self, node: str, bmc: Bmc) -> None:
        self._switch(node, PowerState.ON)

    def _switch(self, node: str, state: PowerState) -> None:
        behaviour = self._answer(node)
        self._claims[node] = state
        if behaviour is Behaviour.OBEYS and self.states[node] is not state:
            self.states[node] = state
            if listener := self._listeners[state]:
                listener(node)

    def _answer(self, node: str) -> Behaviour:
        behaviour = self.behaviours[node]
        if behaviour is Behaviour.SILENT:
            raise DriverUnavailable(f"the BMC of {node} does not answer")
        return behaviour
