"""Rules broken on purpose, to show that the simulation finds out: ``python -m tests.simulation --break <name>``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pvc_core.model.fence import Attempt, Fence, Method
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry, VmEntry
from pvc_core.ports import Domain
from pvc_core.rules import fencing, lifecycle
from pvc_core.state import records
from pvc_node.fence_steps import FenceSteps
from pvc_node.homecoming import Homecoming
from pvc_node.leadership import Leadership
from tests.simulation.rules import Rules


@dataclass(frozen=True)
class Break:
    """What is replaced (owner, name, by what), and a pattern of what the simulation says then."""

    changes: tuple[tuple[Any, str, Any], ...]
    finds: str

    def apply(self) -> None:
        for change in self.changes:
            setattr(*change)


def _first_method(fence: Fence, usable: tuple[Method, ...], *_: object) -> Method | None:
    return usable[0] if usable else None


def _accepted_is_done(steps: FenceSteps, entry: FenceEntry) -> Attempt:
    bmc = steps._state.get(records.node(entry.fence.node)).value.bmc
    steps._power.off(entry.fence.node, bmc)  # type: ignore[arg-type]
    return Attempt(confirmed=True, acted=True)


def _decide_in_maintenance(snapshot: ClusterSnapshot, *rest: Any) -> Any:
    return _begin(replace(snapshot, maintenance=False), *rest)


def _begin_in_maintenance(steps: FenceSteps, fence: Fence) -> None:
    steps._transaction().create(records.fence(fence.node), fence).commit()


class _Nothing:
    """A hypervisor that shows no domain."""

    def domains(self) -> dict[str, Domain]:
        return {}


def _come_back_at_once(homecoming: Homecoming, entry: FenceEntry) -> None:
    """Whatever still runs."""
    homecoming._hypervisor = _Nothing()  # type: ignore[assignment]
    _come_back(homecoming, entry)


def _no_holder(entry: VmEntry) -> str:
    return ""


_begin = fencing._begin
_come_back = Homecoming._come_back
_UNCONFIRMED = ((fencing, "_confirmation", _first_method), (fencing, "may_free", lambda fence, **_: True))
BREAKS = {
    "confirmation": Break(_UNCONFIRMED, "is taken from"),
    "writers": Break((*_UNCONFIRMED, (Rules, "_check_machine", lambda *_: None)), "can write from"),
    "power-state": Break(((FenceSteps, "_cut_power", _accepted_is_done),), "is taken from"),
    "local-disks": Break(((fencing, "may_free", lambda fence, **_: fence.confirmed),), "is taken from"),
    "epoch": Break(((Leadership, "check", lambda *_: None),), "without proving that it is primary"),
    "maintenance": Break(
        ((fencing, "_begin", _decide_in_maintenance), (FenceSteps, "begin", _begin_in_maintenance)),
        "began in maintenance",
    ),
    "lease": Break(((VmEntry, "holder", property(_no_holder)),), "is given to"),
    "leftovers": Break(
        ((lifecycle, "_fenced", lambda *_: []), (Homecoming, "_come_back", _come_back_at_once)),
        "(is taken from|can write from|and cannot write)",
    ),
}
