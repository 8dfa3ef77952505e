"""Where the drivers of BMCs take the passwords from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.drivers.power import BmcPower
from pvc_core.model.node import Bmc
from tests.contract.powers import NODE, SECRET, USER, Program, refusal

BMC = Bmc("192.0.2.1", USER)


def test_a_password_is_the_nodes_own_or_else_the_default_and_read_anew_each_time(
    ipmitool: Program, passwords: Path, tmp_path: Path
) -> None:
    ipmitool.does(f'echo "$IPMI_PASSWORD" >>{tmp_path}/used; echo Chassis Power is on')
    power = BmcPower(str(passwords))
    power.state(NODE, BMC)
    passwords.write_text(f"default: {SECRET}\n{NODE}: own\n")
    power.state(NODE, BMC)
    power.state("node2", BMC)
    assert (tmp_path / "used").read_text().split() == [SECRET, "own", SECRET]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"node2: {SECRET}\n", "has no password for 'node1' and none for 'default'"),
        ("node1: 0123\n", "put it in quotation marks"),
        ("node1: ''\n", "put it in quotation marks"),
        (f"- {SECRET}\n", "is not a mapping"),
        (f"node1: '{SECRET}\n", "is not valid YAML"),
        ("", "is not a mapping"),
    ],
)
def test_a_password_file_that_is_wrong_is_named_and_not_shown(passwords: Path, content: str, words: str) -> None:
    passwords.write_text(content)
    said = refusal(BmcPower(str(passwords)), BMC)
    assert words in said
    assert str(passwords) in said
    assert SECRET not in said


def test_a_password_file_that_others_may_read_is_refused(passwords: Path) -> None:
    passwords.chmod(0o640)
    assert f"chmod 600 {passwords}" in refusal(BmcPower(str(passwords)), BMC)


def test_a_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path}/nothing cannot be read: No such file" in refusal(BmcPower(f"{tmp_path}/nothing"), BMC)
