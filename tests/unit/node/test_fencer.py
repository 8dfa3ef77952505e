"""The fencer on its own cluster in memory: real daemons, real rules, virtual time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pvc_core.config import Config, FencingConfig, NodeConfig, PostgresqlConfig, RedisConfig, ZookeeperConfig
from pvc_core.errors import DriverUnavailable
from pvc_core.fakes.power import Behaviour, FakePower
from pvc_core.model.fence import FenceStep, Method
from pvc_core.model.node import Addresses, Bmc, DaemonState, DomainState
from pvc_core.model.vm import Migration, RunState, VmSize, VmState
from pvc_core.ports import PowerState, Session
from pvc_core.state import records
from pvc_core.state.records import Maintenance
from pvc_node.fencer import Fencer
from pvc_node.leadership import Leadership
from tests.records import node_stats
from tests.unit.node.harness import TIMING, HeldWorkers, LabCluster, LabNode

SESSION = 6.0


class Fenced(LabCluster):
    """Three nodes, of which n1 is primary; each has a BMC."""

    def __init__(self, fencing: FencingConfig) -> None:
        super().__init__()
        self.fencing = fencing
        self.power = FakePower(on_off=self.lose_power)
        self.fencers: dict[str, Fencer] = {}
        self.blocks.create_pool("vms", 8, 3, 2, "default")
        for number, name in enumerate(("n1", "n2", "n3"), start=1):
            self.start_node(name)
            node = self.state.get(records.node(name))
            addresses = Addresses(storage=f"10.0.3.{number}/24")
            self.state.put(node.key, replace(node.value, addresses=addresses, bmc=Bmc(f"bmc{number}", "admin")))
            self.report(name)
        self.advance(2)

    def start_node(self, name: str, *, boot: str = "boot") -> LabNode:
        node = super().start_node(name, boot=boot)
        state = node.presence._state
        config = Config(
            node=NodeConfig(name),
            zookeeper=ZookeeperConfig(("zk",), SESSION),
            postgresql=PostgresqlConfig(("db",)),
            redis=RedisConfig("redis://r"),
            timing=TIMING,
            fencing=self.fencing,
        )
        self.fencers[name] = Fencer(
            config,
            state,
            node.view,
            Leadership(name, state),
            self.power,
            lambda: self.blocks,
            self.clock,
            HeldWorkers(),
        )
        return node

    def cycle(self, times: int = 4) -> None:
        for _ in range(times):
            super().cycle(1)
            for name in self.nodes:
                self.fencers[name].tick()

    def advance(self, seconds: float) -> None:
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(0.25)
            self.cycle(2)

    def report(self, name: str, free: int = 4096) -> None:
        self.state.put(records.stats(name), node_stats(free, time=self.clock.now()))

    def silence(self, name: str) -> LabNode:
        """The node vanishes from ZooKeeper; what it runs goes on."""
        node = self.nodes.pop(name)
        node.store.suspend()
        self.advance(SESSION)
        node.store.expire()
        self.cycle()
        return node

    def wake(self, node: LabNode) -> None:
        self.nodes[node.name] = node
        node.store.resume()
        node.presence.keep()
        self.cycle()

    def lose_power(self, name: str) -> None:
        self.rack.hosts[name].lose_power()

    def step(self, name: str = "n3") -> FenceStep | None:
        entry = self.state.find(records.fence(name))
        return entry.value.step if entry is not None else None

    def machine(self, number: int = 1, **fields: Any) -> str:
        self.blocks.create("vms", f"vm{number}", 1 << 30)
        uuid = self.define(number, node="n3", size=VmSize(64, 1), **fields)
        self.cycle()
        return uuid

    def writers(self, uuid: str) -> list[str]:
        """The nodes from which the machine can write to its disk."""
        shut_out = self.blocks.shut_out_hosts()
        hosts = {name: self.state.get(records.node(name)).value.addresses.hosts() for name in self.rack.running(uuid)}
        return [name for name, addresses in hosts.items() if not addresses & shut_out]


@pytest.fixture
def lab() -> Fenced:
    return Fenced(FencingConfig())


SAVING_THROW = FencingConfig().fence_intervals * TIMING.keepalive_interval - SESSION


def test_a_dead_nodes_machines_run_elsewhere_after_the_saving_throw(lab: Fenced) -> None:
    uuid = lab.machine()
    assert lab.rack.running(uuid) == ["n3"]
    lab.silence("n3")
    lab.advance(SAVING_THROW - 1)
    assert lab.step() is None
    lab.advance(2)
    assert lab.step() is FenceStep.FENCED
    assert lab.writers(uuid) == [lab.vm(uuid).node]
    assert lab.vm(uuid).last_node == "n3"
    assert lab.state.get(records.node("n3")).value.domain_state is DomainState.FLUSHED
    assert lab.power.states["n3"] is PowerState.ON, "it was switched off, and on again"


def test_a_node_that_is_back_in_the_saving_throw_keeps_its_machines(lab: Fenced) -> None:
    uuid = lab.machine()
    node = lab.silence("n3")
    lab.advance(SAVING_THROW - 1)
    lab.wake(node)
    lab.advance(20)
    assert lab.step() is None
    assert lab.rack.running(uuid) == ["n3"]


def test_storage_proves_it_when_the_bmc_is_silent(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.SILENT
    uuid = lab.machine()
    lab.silence("n3")
    lab.advance(SAVING_THROW + 2)
    fence = lab.state.get(records.fence("n3")).value
    assert (fence.step, fence.confirmed_by) == (FenceStep.FENCED, Method.STORAGE)
    assert sorted(lab.rack.running(uuid)) != ["n3"]
    assert lab.writers(uuid) == [lab.vm(uuid).node]


def test_a_command_that_the_bmc_only_accepts_proves_nothing(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.DEAF
    uuid = lab.machine()
    lab.blocks.unavailable = True
    lab.silence("n3")
    lab.advance(60)
    assert lab.step() is FenceStep.FAILED
    assert lab.rack.running(uuid) == ["n3"]
    lab.blocks.unavailable = False
    lab.advance(FencingConfig().retry_interval + 2)
    assert lab.step() is FenceStep.FENCED
    assert lab.writers(uuid) == [lab.vm(uuid).node]


def test_power_proves_it_when_ceph_cannot_be_told(lab: Fenced) -> None:
    uuid = lab.machine()
    lab.blocks.unavailable = True
    lab.silence("n3")
    lab.advance(SAVING_THROW + FencingConfig().patience + 3)
    assert lab.state.get(records.fence("n3")).value.confirmed_by is Method.POWER
    assert lab.rack.running(uuid) == ["n2"], "n1 is primary, and cannot reach the storage either"


def test_a_node_that_came_back_while_its_bmc_thought_about_it_keeps_its_power() -> None:
    lab = Fenced(FencingConfig(methods=("power",)))
    node = lab.silence("n3")
    asked = lab.power.state

    def slow(name: str, bmc: Bmc) -> PowerState:
        state = asked(name, bmc)
        if node.presence.daemon_state is DaemonState.RUN and node.store.session is not Session.CONNECTED:
            node.store.resume()
            node.presence.keep()
        return state

    lab.power.state = slow  # type: ignore[method-assign]
    lab.advance(SAVING_THROW + 5)
    assert node.store.session is Session.CONNECTED, "it came back"
    assert lab.power.states["n3"] is PowerState.ON
    assert lab.step() is None


def test_a_node_found_off_is_confirmed_and_stays_off(lab: Fenced) -> None:
    uuid = lab.machine()
    lab.blocks.unavailable = True
    lab.lose_power("n3")
    lab.power.states["n3"] = PowerState.OFF
    lab.silence("n3")
    lab.advance(SAVING_THROW + FencingConfig().patience + 3)
    assert lab.step() is FenceStep.FENCED
    assert lab.rack.running(uuid) == [lab.vm(uuid).node]
    assert lab.power.states["n3"] is PowerState.OFF


def test_a_machine_with_a_disk_of_the_nodes_own_waits_for_the_power(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.SILENT
    uuid = lab.machine()
    xml = lab.state.get(records.vm_xml(uuid))
    local = "<disk type='file'><source file='/srv/x.img'/><target dev='vdb' bus='virtio'/></disk></devices>"
    lab.state.put(xml.key, xml.value.replace("</devices>", local))
    lab.silence("n3")
    lab.advance(SAVING_THROW + 30)
    assert lab.step() is FenceStep.FENCED
    assert lab.rack.running(uuid) == ["n3"]
    lab.power.behaviours["n3"] = Behaviour.OBEYS
    lab.advance(FencingConfig().retry_interval + 2)
    assert lab.rack.running(uuid) == [lab.vm(uuid).node] != ["n3"]


def test_a_woken_node_destroys_its_copies_is_let_in_again_and_waits_to_be_ready(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.SILENT
    uuid = lab.machine()
    node = lab.silence("n3")
    lab.advance(60)
    assert "n3" in lab.rack.running(uuid)
    lab.wake(node)
    lab.advance(2)
    assert lab.rack.running(uuid) == [lab.vm(uuid).node] != ["n3"]
    assert lab.step() is None
    assert lab.blocks.shut_out_hosts() == set()
    assert lab.state.get(records.node("n3")).value.domain_state is DomainState.FLUSHED


def test_another_coordinator_goes_on_when_the_fencer_dies(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.SILENT
    uuid = lab.machine()
    lab.blocks.unavailable = True
    lab.silence("n3")
    lab.advance(SAVING_THROW + 2)
    assert lab.step() is FenceStep.FENCING
    lab.silence("n1")
    lab.blocks.unavailable = False
    lab.advance(SAVING_THROW + 10)
    assert lab.step("n3") is FenceStep.FENCED
    assert lab.writers(uuid) == ["n2"]


def test_an_administrators_word_is_enough_where_no_method_answers(lab: Fenced) -> None:
    lab.power.behaviours["n3"] = Behaviour.SILENT
    uuid = lab.machine()
    lab.blocks.unavailable = True
    lab.lose_power("n3")
    lab.silence("n3")
    lab.advance(60)
    assert lab.rack.running(uuid) == []
    entry = lab.state.get(records.fence("n3"))
    lab.state.put(entry.key, replace(entry.value, step=FenceStep.RECOVERING, confirmed_by=Method.HAND))
    lab.advance(2)
    assert lab.rack.running(uuid) == [lab.vm(uuid).node] != []


def test_nothing_is_fenced_in_maintenance(lab: Fenced) -> None:
    lab.machine()
    lab.state.put(records.MAINTENANCE, Maintenance(True))
    lab.blocks.drop_silent_osds = None  # nobody may ask  # type: ignore[assignment,method-assign]
    lab.silence("n3")
    lab.advance(60)
    assert lab.step() is None
    del lab.blocks.drop_silent_osds
    lab.state.put(records.MAINTENANCE, Maintenance(False))
    lab.advance(2)
    assert lab.step() is FenceStep.FENCED


def test_the_osds_of_a_dead_node_are_given_up_once_for_each_death_and_long_before_it_is_fenced(
    lab: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    monkeypatch.setattr(lab.blocks, "drop_silent_osds", lambda hosts: asked.append(set(hosts)) or [])
    lab.advance(10)
    node = lab.silence("n3")
    lab.advance(1)
    assert (asked, lab.step()) == ([{"10.0.3.3"}], None)
    lab.wake(node)
    lab.advance(10)
    lab.silence("n3")
    lab.advance(20)
    assert asked == [{"10.0.3.3"}] * 2
    assert lab.step() is FenceStep.FENCED


def test_a_ceph_that_does_not_answer_is_asked_again_about_the_osds(
    lab: Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def drop(hosts: set[str]) -> list[int]:
        asked.append(lab.clock.monotonic())
        raise DriverUnavailable("Ceph does not answer")

    monkeypatch.setattr(lab.blocks, "drop_silent_osds", drop)
    lab.silence("n3")
    lab.advance(3)
    assert len(asked) == 2
    assert lab.step() is None


def test_machines_without_a_place_wait_and_start_when_there_is_room(lab: Fenced) -> None:
    uuid = lab.machine()
    for name in ("n1", "n2"):
        lab.report(name, free=16)
    lab.silence("n3")
    lab.advance(SAVING_THROW + 2)
    assert lab.status(uuid).run is RunState.WAITING
    assert "n1" in lab.status(uuid).reason
    lab.report("n2", free=1024)
    lab.advance(8)
    assert lab.writers(uuid) == ["n2"]


def test_where_it_is_wanted_so_machines_wait_for_the_return_of_their_node(lab: Fenced) -> None:
    lab = Fenced(FencingConfig(successful_fence="none"))
    uuid = lab.machine()
    node = lab.silence("n3")
    lab.advance(30)
    assert lab.status(uuid).run is RunState.STOPPED
    lab.wake(node)
    lab.advance(4)
    assert lab.rack.running(uuid) == ["n3"]


def test_a_machine_that_was_leaving_the_dead_node_runs_once(lab: Fenced) -> None:
    uuid = lab.machine()
    lab.change(uuid, migration=Migration("n2", "task", "n3"))
    lab.rack.hosts["n2"].guests[uuid] = lab.rack.hosts["n3"].guests.pop(uuid)
    silent = lab.nodes.pop("n2")  # it does not come to write that it has it
    lab.silence("n3")
    lab.nodes["n2"] = silent
    lab.advance(SAVING_THROW + 5)
    assert lab.rack.running(uuid) == ["n2"]
    assert (lab.vm(uuid).node, lab.vm(uuid).migration) == ("n2", None)


def test_a_stopped_machine_of_a_dead_node_stays_stopped(lab: Fenced) -> None:
    uuid = lab.machine(state=VmState.STOP)
    lab.silence("n3")
    lab.advance(30)
    assert lab.vm(uuid).node == "n3"
    assert lab.rack.running(uuid) == []
