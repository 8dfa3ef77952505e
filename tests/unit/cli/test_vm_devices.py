"""``pvc vm memory|vcpu|network|volume``: devices through the device call, all else by the description."""

from __future__ import annotations

import pytest

from cli.domain_xml import Domain, volume_of

from .documents import UUID, vm

VM = f"/vm/{UUID}"


@pytest.fixture
def running(api):
    api.on("GET", "/vm/web", vm())
    for method, path in (("PUT", VM), ("POST", f"{VM}/device"), ("DELETE", f"{VM}/device")):
        api.accepts(method, path)
    return api


@pytest.fixture
def stopped(running):
    running.on("GET", "/vm/web", vm(state="stop"))
    return running


def test_memory(pvc, running) -> None:
    result = pvc("vm", "memory", "set", "web", "2048", "-R")
    assert "takes effect when it is restarted" in result.stderr
    (write,) = running.writes()
    assert write.body["restart"] is False
    assert '<memory unit="MiB">2048</memory>' in write.body["xml"]


@pytest.mark.parametrize(("options", "restart"), [(["-r", "-y"], True), (["-R"], False), (["-y"], True), ([], False)])
def test_restart_of_a_running_machine(pvc, running, options: list[str], restart: bool) -> None:
    assert pvc("vm", "vcpu", "set", "web", "4", *options).exit_code == 0
    assert running.writes()[0].body["restart"] is restart


def test_restart_is_confirmed(pvc, running) -> None:
    assert pvc("vm", "vcpu", "set", "web", "4", "-r", input="n\n").exit_code == 1
    assert running.writes() == []


def test_a_stopped_machine_is_not_restarted(pvc, stopped) -> None:
    result = pvc("vm", "vcpu", "set", "web", "4", "-r")
    assert (result.exit_code, result.stderr) == (0, "")
    assert stopped.writes()[0].body["restart"] is False


def test_vcpu_topology(pvc, stopped) -> None:
    assert pvc("vm", "vcpu", "set", "web", "4", "-t", "2,2,1").exit_code == 0
    assert '<topology sockets="2" cores="2" threads="1" />' in stopped.writes()[0].body["xml"]
    wrong = pvc("vm", "vcpu", "set", "web", "4", "-t", "2,2,2")
    assert wrong.exit_code == 2
    assert "2,2,2 does not make 4 vCPUs" in wrong.stderr
    assert pvc("vm", "vcpu", "set", "web", "4", "-t", "4").exit_code == 2


def test_disk_is_attached_live(pvc, running) -> None:
    assert pvc("vm", "volume", "add", "web", "vms/web_data").exit_code == 0
    (write,) = running.writes()
    assert (write.method, write.path) == ("POST", f"{VM}/device")
    assert '<source protocol="rbd" name="vms/web_data" />' in write.body["xml"]
    assert '<target dev="sdb" bus="scsi" />' in write.body["xml"]


def test_no_live_changes_the_description_alone(pvc, running) -> None:
    assert pvc("vm", "volume", "add", "web", "vms/web_data", "-L", "-R").exit_code == 0
    assert pvc("vm", "volume", "remove", "web", "vms/web_root", "-L", "-R").exit_code == 0
    added, removed = running.writes()
    assert (added.method, added.path) == (removed.method, removed.path) == ("PUT", VM)
    assert [volume_of(disk) for disk in Domain(added.body["xml"]).disks()] == ["vms/web_root", "vms/web_data"]
    assert Domain(removed.body["xml"]).disks() == []


def test_disk_is_detached_live_as_it_is_described(pvc, running) -> None:
    assert pvc("vm", "volume", "remove", "web", "vms/web_root", input="n\n").exit_code == 1
    assert running.writes() == []
    assert pvc("vm", "volume", "remove", "web", "vms/web_root", "-y").exit_code == 0
    (write,) = running.writes()
    (device,) = write.query["xml"]
    assert write.method == "DELETE"
    assert '<target dev="sda" bus="scsi" />' in device
    assert "c416032b-2ce9-457f-a5dc-18704a3485f4" in device


def test_a_live_change_needs_no_restart(pvc, running) -> None:
    assert "No restart is needed" in pvc("vm", "volume", "add", "web", "vms/web_data", "-r").stderr
    assert [write.path for write in running.writes()] == [f"{VM}/device"]


def test_a_device_of_a_stopped_machine_is_taken_without_asking(pvc, stopped) -> None:
    assert pvc("vm", "volume", "remove", "web", "vms/web_root").exit_code == 0
    assert [write.path for write in stopped.writes()] == [f"{VM}/device"]


def test_card_is_attached_and_detached_live(pvc, running) -> None:
    assert pvc("vm", "network", "add", "web", "200", "-a", "52:54:00:00:00:02", "-m", "e1000").exit_code == 0
    assert pvc("vm", "network", "remove", "web", "100", "-y").exit_code == 0
    added, removed = running.writes()
    assert added.body["xml"] == (
        '<interface type="bridge">\n'
        '  <mac address="52:54:00:00:00:02" />\n'
        '  <source bridge="vmbr200" />\n'
        '  <model type="e1000" />\n'
        "</interface>"
    )
    assert "52:54:00:00:00:01" in removed.query["xml"][0]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        ("network remove web", 2, "Give NET or --mac-address"),
        ("network remove web 300 -y", 1, "no such network card; there are vmbr100 52:54:00:00:00:01"),
        ("network add web office", 1, "'office' is no VNI"),
        ("volume remove web vms/other -y", 1, "there is no disk vms/other; there are vms/web_root"),
        ("memory set web 0", 2, "0 is not in the range"),
    ],
)
def test_bad_input_changes_nothing(pvc, running, arguments: str, exit_code: int, says: str) -> None:
    result = pvc("vm", *arguments.split())
    assert result.exit_code == exit_code
    assert says in result.stderr
    assert running.writes() == []


def test_refused_by_the_api(pvc, running) -> None:
    refusal = {"message": "vms/web_data is a disk of db", "code": "conflict"}
    running.on("POST", f"{VM}/device", refusal, status=409)
    result = pvc("vm", "volume", "add", "web", "vms/web_data")
    assert (result.exit_code, result.stderr) == (1, "Error: vms/web_data is a disk of db\n")
