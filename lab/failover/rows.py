"""The situations, and how each is brought about."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lab import bmc, namespaces, network, power
from lab.bmc import Condition
from lab.cluster import NETWORKS
from lab.errors import LabError
from lab.failover.rig import Rig

RECOVERY_LIMIT = 90.0  # seconds
STAYS = 30.0  # seconds for which it is watched that nothing happens
ROWS: dict[str, Row] = {}


@dataclass(frozen=True)
class Row:
    """One situation. ``fault`` brings it about; what it breaks, ``Rig.repair`` mends."""

    name: str
    situation: str
    fault: Callable[[Rig], None]
    victim: str = "node4"
    leads: bool = False  # the victim is the coordinator with PostgreSQL's leader, made primary and Redis' master
    recovers: bool = True
    lasts: float = 0.0  # seconds for which it goes on where nothing is recovered
    after: Callable[[Rig], str] | None = None  # what else is to be seen; answers a remark


def row(name: str, situation: str, **more: Any) -> Callable[[Callable[[Rig], None]], Callable[[Rig], None]]:
    def register(fault: Callable[[Rig], None]) -> Callable[[Rig], None]:
        ROWS[name] = Row(name, situation, fault, **more)
        return fault

    return register


@row("hang", "OS hangs (every process of the node stopped, BMC alive)")
def _hang(rig: Rig) -> None:
    namespaces.pause(rig.cluster, rig.victim)


@row("panic", "kernel panic, node resets itself")
def _panic(rig: Rig) -> None:
    power.reset(rig.cluster, rig.victim)


@row("network", "primary network lost, BMC alive")
def _network(rig: Rig) -> None:
    network.set_cables(rig.cluster, rig.victim, ("cluster",), up=False)


@row("networks", "all networks lost, BMC too")
def _networks(rig: Rig) -> None:
    network.set_cables(rig.cluster, rig.victim, tuple(NETWORKS), up=False)


@row("power", "power lost, BMC with it", victim="node3")
def _power(rig: Rig) -> None:
    bmc.set_condition(rig.cluster, rig.victim, Condition.DEAD)
    power.power_off(rig.cluster, rig.victim)


@row("off", "node was found already off")
def _off(rig: Rig) -> None:
    power.power_off(rig.cluster, rig.victim)


@row("deaf", "BMC accepts the command and does nothing")
def _deaf(rig: Rig) -> None:
    bmc.set_condition(rig.cluster, rig.victim, Condition.LIE)
    namespaces.pause(rig.cluster, rig.victim)


@row("ceph", "Ceph cannot be reached to blocklist, BMC alive")
def _ceph(rig: Rig) -> None:
    rig.block_monitors(rig.primary())
    namespaces.pause(rig.cluster, rig.victim)


def _by_hand(rig: Rig) -> str:
    fence = rig.fence(rig.victim)
    if fence is None or fence["step"] != "failed":
        raise LabError(f"the fence of {rig.victim} should have failed, and is {fence}")
    faults = [fault["message"] for fault in rig.user.api("GET", "/faults") if "fence-confirm" in fault["message"]]
    if not faults:
        raise LabError("no fault says what to check")
    power.power_off(rig.cluster, rig.victim)
    asked = time.monotonic()
    rig.user.pvc("node", "fence-confirm", rig.victim, "-y")
    times = rig.recovery(asked, RECOVERY_LIMIT)
    return f"a fault says what to check; {max(times):.1f} s after fence-confirm they run"


@row("neither", "neither power nor storage can be confirmed", recovers=False, lasts=2 * STAYS, after=_by_hand)
def _neither(rig: Rig) -> None:
    for node in rig.cluster.coordinators:
        rig.block_monitors(node)
    bmc.set_condition(rig.cluster, rig.victim, Condition.HANG)
    namespaces.pause(rig.cluster, rig.victim)


@row("fencer", "fencer dies in the middle of the fence (each of its steps: see the simulation)")
def _fencer(rig: Rig) -> None:
    primary = rig.primary()
    rig.block_monitors(primary)  # it will stand at its first step
    bmc.set_condition(rig.cluster, rig.victim, Condition.HANG)
    namespaces.pause(rig.cluster, rig.victim)
    rig.user.wait("the fence to begin", lambda: rig.fence(rig.victim) is not None, 60)
    power.power_off(rig.cluster, primary)


def _all_is_well(rig: Rig) -> str:
    rig.repair()
    return "none was fenced, all is well after the return"


@row("quorum", "two of three coordinators lost", victim="node4", recovers=False, lasts=STAYS, after=_all_is_well)
def _quorum(rig: Rig) -> None:
    for node in ("node1", "node2"):
        bmc.set_condition(rig.cluster, node, Condition.DEAD)
        power.power_off(rig.cluster, node)


@row("zookeeper", "ZooKeeper lost altogether for 10 minutes", recovers=False, lasts=600.0, after=_all_is_well)
def _zookeeper(rig: Rig) -> None:
    for node in rig.cluster.coordinators:
        rig.user.on_host(node, "sv", "down", "zookeeper")


def _api_back(rig: Rig) -> str:
    return f"the API answered again after {rig.api_back:.1f} s"


@row(
    "primary",
    "the primary dies (with PostgreSQL's leader and Redis' master on it)",
    leads=True,
    after=_api_back,
)
def _primary(rig: Rig) -> None:
    bmc.set_condition(rig.cluster, rig.victim, Condition.DEAD)
    power.power_off(rig.cluster, rig.victim)
    rig.user.wait("the API", lambda: bool(rig.user.api("GET", "/status")), RECOVERY_LIMIT)
    rig.api_back = time.monotonic() - rig.began


@row("daemon", "a node daemon alone dies and is back in time, VMs go on", recovers=False, lasts=STAYS)
def _daemon(rig: Rig) -> None:
    rig.user.on_host(rig.victim, "sv", "kill", "pvc-node")


@row("daemon-gone", "a node daemon alone dies and is not back, VMs go on")
def _daemon_gone(rig: Rig) -> None:
    bmc.set_condition(rig.cluster, rig.victim, Condition.HANG)
    rig.user.on_host(rig.victim, "sh", "-c", "sv once pvc-node; sv kill pvc-node")


def _wakes(rig: Rig) -> str:
    time.sleep(max(0.0, rig.began + 60.0 - time.monotonic()))
    woken = time.monotonic()
    namespaces.resume(rig.cluster, rig.victim)
    rig.user.wait("the old copies to go", lambda: rig.observer.left(rig.victim, woken) is not None, RECOVERY_LIMIT)
    return f"the old copies were gone {rig.observer.left(rig.victim, woken):.2f} s after it woke"


@row("paused", "a hypervisor is paused for 60 s and wakes", after=_wakes)
def _paused(rig: Rig) -> None:
    bmc.set_condition(rig.cluster, rig.victim, Condition.HANG)  # or it would not live to wake
    namespaces.pause(rig.cluster, rig.victim)
