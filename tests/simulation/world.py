"""A cluster whose nodes run their real code, with everything around them simulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pvc_core.fakes.hypervisor import FakeRack
from pvc_core.fakes.power import FakePower
from pvc_core.model.fence import Method
from pvc_core.model.snapshot import ClusterSnapshot, FenceEntry
from pvc_core.model.vm import RunState, Vm, VmState
from pvc_core.ops.vm_migrate import VmMigrate
from pvc_core.state import fences, records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.records import Maintenance
from pvc_core.state.view import ClusterView
from tests.simulation.host import Host
from tests.simulation.hypervisor import Qemu
from tests.simulation.layout import Layout, MachinePlan
from tests.simulation.loop import Loop
from tests.simulation.ports import Ceph
from tests.simulation.rules import Rules
from tests.simulation.store import SimCluster
from tests.simulation.tasks import Board

GIB = 1024**3


class World:
    def __init__(self, seed: int | None, layout: Layout) -> None:
        self.loop = Loop(seed)
        self.layout = layout
        self.note: Callable[[str], object] = lambda line: None
        self.servers = SimCluster(self.loop)
        self.zookeeper_down = False
        self._servers_up = 0
        self.rack = FakeRack()
        self.ceph = Ceph(self)
        self.power = FakePower(lambda node: self.hosts[node].cut_power(), lambda node: self.hosts[node].power_on())
        self.hosts = {plan.name: Host(self, plan, number) for number, plan in enumerate(layout.nodes, start=1)}
        self.coordinators = [host for host in self.hosts.values() if host.plan.coordinator]
        self.machines: dict[str, MachinePlan] = {}
        self.rules = Rules(self)
        self.board = Board(self)
        self.servers.watcher = self.rules.committed
        self.state = ClusterState(self.servers.open(None))
        self.state.prepare()
        for number, machine in enumerate(layout.machines, start=1):
            self._define(f"00000000-0000-0000-0000-{number:012}", machine)
        for host in self.hosts.values():
            self.loop.at(self.loop.random.random(), host.start_daemon, host.system)

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.loop.run(self.loop.time + seconds, self.rules.after_event)

    def connect(self) -> None:
        """Work out anew who reaches ZooKeeper; to be called after every change of a host or a link."""
        serving = [host for host in self.coordinators if host.serves and host.links.cluster]
        quorum = 2 * len(serving) > len(self.coordinators) and not self.zookeeper_down
        if len(serving) < self._servers_up:  # some clients lose their connection, and find another server
            for store in self.servers.stores():
                if self.loop.random.random() < 1 / 3:
                    store.flicker()
        self._servers_up = len(serving)
        if quorum != self.servers.quorum:
            self.note("ZooKeeper has a quorum again" if quorum else "ZooKeeper has no quorum")
            self.rules.quorum_changed()
        self.servers.set_quorum(quorum)
        for store in self.servers.stores():
            process = store.process
            if process is not None:
                host = process.host
                reached = quorum and host.powered and host.links.cluster and not host.zookeeper_cut
                store.reach(reached, reached and process.alive and not process.paused)

    def qemus(self) -> Iterator[Qemu]:
        return (qemu for host in self.hosts.values() for qemu in host.hypervisor.qemus.values())

    def change_vm(self, uuid: str, change: Callable[[Vm], Vm]) -> None:
        """What an operation of the API writes."""
        entry = self.state.get(records.vm(uuid))
        self.state.transaction().update(entry, change(entry.value)).commit()

    def change_node(self, name: str, **fields: Any) -> None:
        entry = self.state.get(records.node(name))
        self.state.transaction().update(entry, replace(entry.value, **fields)).commit()

    def set_maintenance(self, enabled: bool) -> None:
        self.state.put(records.MAINTENANCE, Maintenance(enabled))

    def confirm(self, name: str) -> None:
        """What the operation node.fence_confirm writes."""
        found = self.state.find(records.fence(name))
        if found is not None and not found.value.confirmed:
            transaction = self.state.transaction()
            entry = FenceEntry(found.value, found.version)
            fences.confirm(self.state, transaction, entry, Method.HAND, self.hosts[name].clock.now(), empty=True)
            transaction.commit()

    def tend_machines(self) -> None:
        """Start the machines anew that were given up, and move on those whose migration was broken off."""
        for uuid, machine in self.machines.items():
            vm, status = self.rules.now(records.vm(uuid)), self.rules.now(records.vm_status(uuid))
            given_up = status is not None and status.run is RunState.FAILED and status.generation == vm.generation
            if vm.state is VmState.START and given_up:
                self.note(f"-- start {machine.name}, which was given up")
                self.change_vm(uuid, lambda vm: replace(vm, generation=vm.generation + 1))
            if vm.migration is not None and not self.board.tickets:
                self.board.send(VmMigrate(uuid, force=True))

    def close(self) -> None:
        """End all that runs, so that nothing of this world is left."""
        self.note = lambda line: None
        for host in self.hosts.values():
            host.cut_power()

    def picture(self) -> ClusterSnapshot:
        """The cluster as it is now."""
        store = self.servers.open(None)
        view = ClusterView(store)
        view.start()
        store.close()
        return view.snapshot()

    def _define(self, uuid: str, machine: MachinePlan) -> None:
        self.machines[uuid] = machine
        self.ceph.blocks.create("vms", machine.name, GIB)
        transaction = self.state.transaction()
        transaction.create(records.vm_name(machine.name), records.Name(uuid))
        transaction.create(records.vm(uuid), machine.record(uuid))
        transaction.create(records.vm_xml(uuid), machine.xml(uuid))
        transaction.commit()
