"""What every Power does, whether a BMC stands behind it or memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pvc_core.errors import DriverUnavailable
from pvc_core.fakes.power import Behaviour, FakePower
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState
from tests.contract.powers import NODE, FakePowerWorld, IpmiWorld, PowerWorld, RedfishWorld
from tests.contract.worlds import eventually

WORLDS = {"fake": FakePowerWorld, "ipmi": IpmiWorld, "redfish": RedfishWorld}
REAL = pytest.mark.services


@pytest.fixture(params=["fake", pytest.param("ipmi", marks=REAL), pytest.param("redfish", marks=REAL)])
def world(request: pytest.FixtureRequest) -> Iterator[PowerWorld]:
    world = WORLDS[request.param]()
    yield world
    world.close()


def test_the_state_is_that_of_the_power(world: PowerWorld) -> None:
    for state in (PowerState.ON, PowerState.OFF, PowerState.ON):
        world.press(state)
        assert world.power.state(NODE, world.bmc) is state


def test_a_node_is_switched_off_and_on(world: PowerWorld) -> None:
    for switch, state in ((world.power.off, PowerState.OFF), (world.power.on, PowerState.ON)):
        switch(NODE, world.bmc)
        eventually(lambda state=state: world.power.state(NODE, world.bmc) is state)
        assert world.state is state


def test_to_switch_off_what_is_off_is_no_error(world: PowerWorld) -> None:
    world.press(PowerState.OFF)
    world.power.off(NODE, world.bmc)
    assert world.power.state(NODE, world.bmc) is PowerState.OFF
    world.press(PowerState.ON)
    world.power.on(NODE, world.bmc)
    assert world.power.state(NODE, world.bmc) is PowerState.ON


def test_a_bmc_that_takes_the_command_and_does_nothing_says_that_the_power_is_on(world: PowerWorld) -> None:
    world.deafen()
    world.power.off(NODE, world.bmc)
    assert world.power.state(NODE, world.bmc) is PowerState.ON


def test_a_bmc_that_does_not_answer_is_unavailable_until_it_does(world: PowerWorld) -> None:
    world.silence()
    with pytest.raises(DriverUnavailable, match=NODE):
        world.power.state(NODE, world.bmc)
    world.wake()
    eventually(lambda: world.power.state(NODE, world.bmc) is PowerState.ON)


def test_a_lying_fake_claims_what_it_did_not_do_and_tells_nobody() -> None:
    switched: list[str] = []
    power, bmc = FakePower(on_off=switched.append), Bmc("192.0.2.1", "operator")
    power.behaviours[NODE] = Behaviour.LIES
    assert power.state(NODE, bmc) is PowerState.ON
    power.off(NODE, bmc)
    assert power.state(NODE, bmc) is PowerState.OFF
    assert power.states[NODE] is PowerState.ON
    assert switched == []
    power.behaviours[NODE] = Behaviour.OBEYS
    power.off(NODE, bmc)
    power.off(NODE, bmc)
    assert switched == [NODE]
