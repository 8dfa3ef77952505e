"""The parts of a node that decide, put together: for the daemon, and for the simulation of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pvc_core.config import Config
from pvc_core.ports import BlockStore, Clock, Hypervisor, NetworkPlane, Power, Store, Watchdog
from pvc_core.state.cluster import ClusterState
from pvc_core.state.view import ClusterView
from pvc_node.bmcs import Bmcs
from pvc_node.bridges import Bridges
from pvc_node.disks import Disks
from pvc_node.fencer import Fencer
from pvc_node.floating import Floating
from pvc_node.homecoming import Homecoming
from pvc_node.identity import Identity
from pvc_node.leadership import Leadership
from pvc_node.presence import Presence
from pvc_node.reconcile import Reconciler
from pvc_node.workers import Workers

WORKERS = 4  # machines that are started or stopped at once
FENCERS = 8  # things that are done at once about dead nodes
BMC_INTERVAL = 60.0


@dataclass(frozen=True)
class Outside:
    """The doors to the outside. ``blocks`` connects to the storage cluster when it is first needed."""

    store: Store
    hypervisor: Hypervisor
    network: NetworkPlane
    clock: Clock
    power: Power
    blocks: Callable[[], BlockStore]
    watchdog: Callable[[int], Watchdog]  # armed with a time in seconds


@dataclass(frozen=True)
class Parts:
    presence: Presence
    bridges: Bridges
    disks: Disks
    leadership: Leadership
    floating: Floating
    reconciler: Reconciler
    bmcs: Bmcs
    fencer: Fencer


def assemble(
    config: Config,
    identity: Identity,
    outside: Outside,
    state: ClusterState,
    view: ClusterView,
    workers: Workers,
    fencers: Workers,
) -> Parts:
    """``workers`` carry out what is decided about machines, ``fencers`` what is decided about dead nodes."""
    name, clock = config.node.name, outside.clock
    presence = Presence(state, config.node, identity)
    bridges = Bridges(outside.network, clock)
    disks = Disks(outside.blocks)
    leadership = Leadership(name, state)
    shut_out = disks.blocks if "storage" in config.fencing.methods else None
    homecoming = Homecoming(name, state, presence, outside.hypervisor, shut_out, clock, workers)
    reconciler = Reconciler(
        name,
        identity,
        state,
        view,
        presence,
        outside.hypervisor,
        bridges,
        clock,
        config.timing,
        workers,
        disks,
        homecoming,
    )
    bmcs = Bmcs(name, view, leadership, outside.power)
    return Parts(
        presence=presence,
        bridges=bridges,
        disks=disks,
        leadership=leadership,
        floating=Floating(config, state, leadership, presence, outside.network, clock),
        reconciler=reconciler,
        bmcs=bmcs,
        fencer=Fencer(config, state, view, leadership, outside.power, disks.blocks, clock, fencers, lambda: bmcs.mute),
    )
