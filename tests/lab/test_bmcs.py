"""The laboratory's BMCs, asked by IPMI as nodes do: they switch a node's namespaces, and fail as they are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import bmc, namespaces, network
from lab import cluster as plans
from lab.bmc import Condition
from lab.cluster import BMC_NETWORK, BMC_USER, Cluster
from lab.context import planning
from lab.up import down, prepare
from pvc_core.drivers.power import BmcPower
from pvc_core.errors import DriverUnavailable
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState
from tests.contract.networks import inside

NAME = "bmctest"
NODE, ASKER = "node1", "node2"


@pytest.fixture(scope="module")
def cables() -> Iterator[Cluster]:
    """A cluster of which nothing is there but switches and BMCs: the nodes are off."""
    with planning(plans.DEFAULT_STATE):
        cluster = plans.load(NAME, plans.DEFAULT_STATE)
        if cluster is not None:  # what an interrupted run left
            down(cluster)
        cluster = plans.plan(NAME, plans.DEFAULT_STATE, "full", None)
        plans.save(cluster)
    try:
        prepare(cluster)
        for node in (NODE, ASKER):
            bmc.start(cluster, node)
        yield cluster
    finally:
        with planning(plans.DEFAULT_STATE):
            down(cluster)
    assert not [path for path in network.NAMESPACES.glob("*") if NAME in path.name]


class Switch:
    """The BMC of one node, asked from where another node's is plugged in."""

    def __init__(self, cluster: Cluster, passwords: Path) -> None:
        passwords.touch(mode=0o600)
        passwords.write_text(f"default: '{cluster.secret('bmc')}'\n")
        self._power = BmcPower(str(passwords))
        self._bmc = Bmc(cluster.address(cluster.bmc(NODE), BMC_NETWORK), BMC_USER)
        self._place = network.namespace(cluster, cluster.bmc(ASKER))

    def state(self) -> PowerState:
        with inside(self._place):
            return self._power.state(NODE, self._bmc)

    def off(self) -> None:
        with inside(self._place):
            self._power.off(NODE, self._bmc)

    def on(self) -> None:
        with inside(self._place):
            self._power.on(NODE, self._bmc)


@pytest.fixture
def switch(cables: Cluster, tmp_path: Path) -> Iterator[Switch]:
    yield Switch(cables, tmp_path / "bmc.secret")
    bmc.set_condition(cables, NODE, Condition.OK)


def test_the_power_of_a_node_is_its_namespaces(cables: Cluster, switch: Switch) -> None:
    assert switch.state() is PowerState.OFF
    switch.on()
    assert switch.state() is PowerState.ON
    assert NODE in namespaces.running(cables)
    switch.off()
    assert switch.state() is PowerState.OFF
    assert NODE not in {host for _, host in namespaces.processes(cables)}


def test_a_bmc_that_lies_takes_the_command_and_switches_nothing(cables: Cluster, switch: Switch) -> None:
    bmc.set_condition(cables, NODE, Condition.LIE)
    switch.on()
    assert switch.state() is PowerState.OFF


@pytest.mark.parametrize("condition", [Condition.CUT, Condition.HANG, Condition.DEAD])
def test_a_bmc_that_is_broken_does_not_answer_until_it_is_well(
    cables: Cluster, switch: Switch, condition: Condition
) -> None:
    assert bmc.condition(cables, NODE) is Condition.OK
    bmc.set_condition(cables, NODE, condition)
    assert bmc.condition(cables, NODE) is condition
    with pytest.raises(DriverUnavailable):
        switch.state()
    bmc.set_condition(cables, NODE, Condition.OK)
    assert bmc.condition(cables, NODE) is Condition.OK
    assert switch.state() is PowerState.OFF
