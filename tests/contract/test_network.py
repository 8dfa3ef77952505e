"""What every NetworkPlane does, whether the kernel stands behind it or memory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from pvc_core.config import NetworkConfig
from pvc_core.drivers.network import LinuxNetwork
from pvc_core.errors import DriverError
from pvc_core.fakes.network import FakeNetwork
from pvc_core.ports import NetworkPlane
from tests.contract.networks import TRUNK, inside, ip, wired_nodes

VXLAN = NetworkConfig(bridge_device=TRUNK, bridge_transport="vxlan", bridge_mtu=1500)


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.services)])
def plane(request: pytest.FixtureRequest) -> Iterator[NetworkPlane]:
    if request.param == "fake":
        yield FakeNetwork()
        return
    with wired_nodes(mtu=1600) as (node, _other), inside(node):
        yield LinuxNetwork(VXLAN)


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    with wired_nodes(mtu=1600) as nodes:
        yield nodes


def mtu(name: str) -> int:
    return int(json.loads(ip("-json", "link", "show", name))[0]["mtu"])


def test_a_bridge_is_made_once_and_taken_away(plane: NetworkPlane) -> None:
    assert plane.bridges() == set()
    for _ in range(2):
        plane.ensure_bridged(100, None)
        plane.ensure_bridged(4094, 1400)
        assert plane.bridges() == {"vmbr100", "vmbr4094"}
    for _ in range(2):
        plane.remove_bridged(100)
        assert plane.bridges() == {"vmbr4094"}


def test_the_physical_interfaces_are_counted(plane: NetworkPlane) -> None:
    plane.ensure_bridged(100, None)
    interfaces = plane.interfaces()
    assert len(interfaces) == 1
    stats = next(iter(interfaces.values()))
    assert stats.state == "up"
    assert stats.rx_bytes >= 0
    assert stats.tx_packets > 0


@pytest.mark.services
def test_machines_on_two_nodes_are_on_one_network_and_no_other(wire: tuple[str, str]) -> None:
    for number, node in enumerate(wire):
        with inside(node):
            plane = LinuxNetwork(VXLAN)
            plane.ensure_bridged(100, None)
            plane.ensure_bridged(200, None)
            for vni in (100, 200):
                # 198.51.100.x and 203.0.113.x stand for machines; the second network has another address on one side.
                host = number + 1 if vni == 100 else 10 * number + 1
                ip("address", "add", f"{'198.51.100' if vni == 100 else '203.0.113'}.{host}/24", "dev", f"vmbr{vni}")
    with inside(wire[0]):
        assert _pings("198.51.100.2", size=1400)
        assert _pings("203.0.113.11", size=1400)
        assert not _pings("203.0.113.2")


@pytest.mark.services
def test_a_changed_mtu_is_taken_over_and_one_that_does_not_fit_is_refused(wire: tuple[str, str]) -> None:
    with inside(wire[0]):
        plane = LinuxNetwork(VXLAN)
        plane.ensure_bridged(100, None)
        assert mtu("vmbr100") == 1500
        plane.ensure_bridged(100, 1550)
        assert (mtu("vmbr100"), mtu("vxlan100")) == (1550, 1550)
        with pytest.raises(DriverError, match="1550"):
            plane.ensure_bridged(100, 1551)


@pytest.mark.services
def test_what_was_taken_apart_is_mended(wire: tuple[str, str]) -> None:
    with inside(wire[0]):
        plane = LinuxNetwork(VXLAN)
        plane.ensure_bridged(100, None)
        ip("link", "delete", "vxlan100")
        ip("link", "set", "vmbr100", "down")
        plane.ensure_bridged(100, None)
        uplink = json.loads(ip("-json", "link", "show", "vxlan100"))[0]
        assert uplink["master"] == "vmbr100"
        assert "UP" in json.loads(ip("-json", "link", "show", "vmbr100"))[0]["flags"]


@pytest.mark.services
def test_vlans_carry_the_networks_where_the_kernel_has_them(wire: tuple[str, str]) -> None:
    with inside(wire[0]):
        if subprocess.run(["ip", "link", "add", "link", TRUNK, "name", "probe", "type", "vlan", "id", "7"]).returncode:
            pytest.skip("this kernel has no VLANs (8021q)")
        plane = LinuxNetwork(NetworkConfig(bridge_device=TRUNK, bridge_transport="vlan"))
        plane.ensure_bridged(100, None)
        link = json.loads(ip("-json", "-details", "link", "show", f"{TRUNK}.100"))[0]
        assert (link["link"], link["master"], link["linkinfo"]["info_data"]["id"]) == (TRUNK, "vmbr100", 100)


@pytest.mark.services
@pytest.mark.parametrize(("device", "words"), [("", "network.bridge_device"), ("nothing0", "nothing0")])
def test_a_wrong_configuration_is_named(wire: tuple[str, str], device: str, words: str) -> None:
    with inside(wire[0]), pytest.raises(DriverError, match=words):
        LinuxNetwork(NetworkConfig(bridge_device=device)).ensure_bridged(100, None)


def _pings(address: str, size: int = 56) -> bool:
    command = ["ping", "-c", "2", "-i", "0.2", "-W", "1", "-M", "do", "-s", str(size), address]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
