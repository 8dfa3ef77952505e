"""What the IPMI driver makes of answers that are wrong, odd or missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.drivers import ipmi
from pvc_core.drivers.ipmi import split_address
from pvc_core.drivers.power import BmcPower
from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState
from tests.contract.powers import NODE, SECRET, USER, IpmiWorld, Program, refusal

BMC = Bmc("192.0.2.1", USER)


@pytest.fixture
def sim() -> Iterator[IpmiWorld]:
    world = IpmiWorld()
    yield world
    world.close()


@pytest.mark.services
def test_a_wrong_password_or_user_is_refused_and_not_shown(sim: IpmiWorld) -> None:
    assert f"refuses the user '{USER}' or the password" in refusal(sim.power, sim.bmc, "node2")
    assert "refuses the user 'nobody' or the password" in refusal(sim.power, Bmc(sim.bmc.address, "nobody"))
    for said in (refusal(sim.power, sim.bmc, "node2"), refusal(sim.power, Bmc(sim.bmc.address, "nobody"))):
        assert sim.password not in said


@pytest.mark.services
def test_a_password_too_long_for_ipmi_is_said(sim: IpmiWorld) -> None:
    sim.passwords_file.write_text(f"default: '{'x' * 21}'\n")
    assert "password is longer than 20" in refusal(sim.power, sim.bmc, "node2")


@pytest.mark.services
def test_what_the_bmc_complains_of_is_passed_on(sim: IpmiWorld) -> None:
    sim.control("exit 1")
    assert "Get Chassis Power Status failed: Unspecified error" in refusal(sim.power, sim.bmc)
    with pytest.raises(DriverError, match="Set Chassis Power Control to Down/Off failed"):
        sim.power.off(NODE, sim.bmc)


@pytest.mark.parametrize(
    ("printed", "state"),
    [
        ("Chassis Power is on", PowerState.ON),
        ("Chassis Power is off", PowerState.OFF),
        ("CHASSIS POWER IS OFF", PowerState.OFF),
        ("Running Get VSO Capabilities\r\n  Chassis Power is On\r\n", PowerState.ON),
    ],
)
def test_the_state_is_read_in_either_case_and_whatever_is_around_it(
    ipmitool: Program, passwords: Path, printed: str, state: PowerState
) -> None:
    ipmitool.does(f"printf '%s' '{printed}'")
    assert BmcPower(str(passwords)).state(NODE, BMC) is state


@pytest.mark.parametrize("printed", ["", "Chassis Power is unknown", "Chassis Power is offline", "on"])
def test_what_is_neither_on_nor_off_is_an_error(ipmitool: Program, passwords: Path, printed: str) -> None:
    ipmitool.does(f"echo '{printed}'")
    assert "neither on nor off" in refusal(BmcPower(str(passwords)), BMC)


def test_a_bmc_that_cannot_switch_off_what_is_off_is_content(ipmitool: Program, passwords: Path) -> None:
    complaint = "Set Chassis Power Control to Down/Off failed: Command not supported in present state"
    ipmitool.does(f"echo '{complaint}' >&2; exit 1")
    BmcPower(str(passwords)).off(NODE, BMC)


def test_an_older_cipher_suite_is_taken_where_the_bmc_refuses_the_newer(ipmitool: Program, passwords: Path) -> None:
    complaint = "Error in open session response message : no cipher suite match with proposed security algorithms"
    ipmitool.does(f"case \"$*\" in *'-C 3 '*) echo Chassis Power is on;; *) echo '{complaint}' >&2; exit 1;; esac")
    assert BmcPower(str(passwords)).state(NODE, BMC) is PowerState.ON
    ipmitool.does(f"echo '{complaint}' >&2; exit 1")
    assert complaint in refusal(BmcPower(str(passwords)), BMC)


def test_no_command_line_shows_the_password(ipmitool: Program, passwords: Path, tmp_path: Path) -> None:
    ipmitool.does(f'echo "$*" >>{tmp_path}/seen; echo "$IPMI_PASSWORD" >{tmp_path}/password; echo Chassis Power is on')
    BmcPower(str(passwords)).state(NODE, Bmc("[2001:db8::1]:6230", USER))
    assert (tmp_path / "password").read_text().strip() == SECRET
    seen = (tmp_path / "seen").read_text()
    assert SECRET not in seen
    assert "-H 2001:db8::1 -p 6230 " in seen


def test_a_program_that_hangs_is_killed(
    ipmitool: Program, passwords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipmi, "LIMIT", 0.5)
    ipmitool.does(f"echo $$ >{tmp_path}/pid; exec sleep 60")
    with pytest.raises(DriverUnavailable):
        BmcPower(str(passwords)).state(NODE, BMC)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_a_missing_program_is_named(passwords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "ipmitool is not installed" in refusal(BmcPower(str(passwords)), BMC)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.0.5.11", ("10.0.5.11", "623")),
        ("bmc1.example:6230", ("bmc1.example", "6230")),
        ("2001:db8::1", ("2001:db8::1", "623")),
        ("[2001:db8::1]", ("2001:db8::1", "623")),
        ("[2001:db8::1]:6230", ("2001:db8::1", "6230")),
    ],
)
def test_addresses(address: str, parts: tuple[str, str]) -> None:
    assert split_address(address) == parts
