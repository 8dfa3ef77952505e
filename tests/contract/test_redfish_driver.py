"""What the Redfish driver makes of answers that are wrong, odd or missing."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.drivers.power import BmcPower
from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.model.node import Bmc, BmcDriver
from pvc_core.ports import PowerState
from tests.contract.powers import ADDRESS, NODE, SECRET, SYSTEM, SYSTEMS, USER, Program, RedfishWorld, refusal

pytestmark = pytest.mark.services


@pytest.fixture
def service() -> Iterator[RedfishWorld]:
    world = RedfishWorld()
    yield world
    world.close()


def test_a_wrong_password_is_refused_and_not_shown(service: RedfishWorld) -> None:
    said = refusal(service.power, service.bmc, "node2")
    assert f"refuses the user '{USER}' or the password" in said
    assert service.password not in said


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("On", PowerState.ON),
        ("Off", PowerState.OFF),
        ("OFF", PowerState.OFF),
        ("PoweringOn", PowerState.ON),
        ("PoweringOff", PowerState.ON),
        ("Paused", PowerState.ON),
    ],
)
def test_only_off_is_off(service: RedfishWorld, word: str, state: PowerState) -> None:
    service.answers[SYSTEM] = (200, service.system(word))
    assert service.power.state(NODE, service.bmc) is state


@pytest.mark.parametrize(
    ("path", "status", "body", "words"),
    [
        (SYSTEM, 200, '{"PowerState": null}', "neither On nor Off: None"),
        (SYSTEM, 200, '{"PowerState": "Sideways"}', "neither On nor Off: 'Sideways'"),
        (SYSTEM, 200, '{"Name": "no state at all"}', "missing required field `PowerState`"),
        (SYSTEM, 200, "<html>Welcome</html>", "not what Redfish says"),
        (SYSTEMS, 200, '{"Members": [{"@odata.id": "@192.0.2.9/"}]}', "no path"),
        (SYSTEMS, 200, '{"Members": []}', "not one system but none"),
        (SYSTEMS, 301, "", "HTTP 301"),
        (SYSTEMS, 404, "", "HTTP 404"),
        (SYSTEMS, 500, "", "HTTP 500"),
    ],
)
def test_nonsense_is_an_error(service: RedfishWorld, path: str, status: int, body: str, words: str) -> None:
    service.answers[path] = (status, body)
    assert words in refusal(service.power, service.bmc)


def test_a_busy_or_absent_service_is_unavailable(service: RedfishWorld) -> None:
    service.answers[SYSTEMS] = (503, "")
    for bmc in (service.bmc, Bmc(f"{ADDRESS}:1", USER, BmcDriver.REDFISH)):
        with pytest.raises(DriverUnavailable):
            service.power.state(NODE, bmc)


def test_among_several_systems_the_address_names_the_nodes_own(service: RedfishWorld) -> None:
    other = f"{SYSTEMS}/other"
    service.answers[SYSTEMS] = (200, json.dumps({"Members": [{"@odata.id": SYSTEM}, {"@odata.id": other}]}))
    service.answers[other] = (200, service.system("Off"))
    base = f"https://{service.bmc.address}"
    said = refusal(service.power, service.bmc)
    assert base + SYSTEM in said
    assert base + other in said
    assert service.power.state(NODE, Bmc(base + SYSTEM, USER, BmcDriver.REDFISH)) is PowerState.ON
    assert service.power.state(NODE, Bmc(base + other, USER, BmcDriver.REDFISH)) is PowerState.OFF


def test_the_power_is_cut_and_nothing_is_shut_down(service: RedfishWorld) -> None:
    for _ in range(2):
        service.power.off(NODE, service.bmc)
    assert service.posted == [{"ResetType": "ForceOff"}]


def test_a_system_that_cannot_be_cut_off_says_what_it_can(service: RedfishWorld) -> None:
    service.answers[SYSTEM] = (200, service.system("On").replace("ForceOff", "GracefulShutdown"))
    with pytest.raises(DriverError, match="no reset ForceOff, only On, GracefulShutdown, ForceRestart"):
        service.power.off(NODE, service.bmc)


def test_no_command_line_shows_the_password(curl: Program, passwords: Path, tmp_path: Path) -> None:
    curl.does(f'echo "$*" >{tmp_path}/seen; cat >{tmp_path}/headers; printf \'{{"PowerState": "On"}}\\n200\'')
    bmc = Bmc(f"http://192.0.2.1{SYSTEM}", USER, BmcDriver.REDFISH)
    assert BmcPower(str(passwords)).state(NODE, bmc) is PowerState.ON
    token = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
    assert token in (tmp_path / "headers").read_text()
    seen = (tmp_path / "seen").read_text()
    assert f"http://192.0.2.1{SYSTEM}" in seen
    assert token not in seen
    assert SECRET not in seen
