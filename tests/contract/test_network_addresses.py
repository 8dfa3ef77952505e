"""What every NetworkPlane does with floating addresses, and how the neighbours see that."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from pvc_core.config import NetworkConfig
from pvc_core.drivers.network import LinuxNetwork
from pvc_core.errors import DriverError
from pvc_core.fakes.clock import FakeClock
from pvc_core.fakes.network import FakeNetwork
from pvc_core.ports import NetworkPlane
from tests.contract.networks import TRUNK, inside, ip, switched_nodes
from tests.contract.worlds import eventually

LONG = 60  # seconds


class Family(NamedTuple):
    own: str  # of the first node; the others count on
    floating: str

    @property
    def host(self) -> str:
        return self.floating.partition("/")[0]


V4 = Family("192.0.2.1/24", "192.0.2.250/24")
V6 = Family("fd00::1/64", "fd00::250/64")


@pytest.fixture(params=[V4, V6], ids=["IPv4", "IPv6"])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


class Node(NamedTuple):
    plane: NetworkPlane
    eventually: Callable[[Callable[[], bool]], None]


@pytest.fixture(params=["fake", pytest.param("kernel", marks=pytest.mark.services)])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    if request.param == "fake":
        clock = FakeClock()
        yield Node(FakeNetwork((V4.own, V6.own), clock), lambda condition: _step(clock, condition))
        return
    with switched_nodes(1) as (name,), inside(name):
        yield Node(LinuxNetwork(NetworkConfig()), eventually)


def _step(clock: FakeClock, condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        clock.advance(0.1)
    pytest.fail("the condition did not come true in time")


def test_an_address_is_held_until_it_is_released(node: Node) -> None:
    both = {V4.floating, V6.floating}
    assert node.plane.held(both) == set()
    for _ in range(2):
        node.plane.hold(V4.floating, V4.own, LONG)
        node.plane.announce(V4.floating)
        assert node.plane.held(both) == {V4.floating}
    node.plane.hold(V6.floating, V6.own, LONG)
    node.plane.announce(V6.floating)
    for _ in range(2):
        node.plane.release(V4.floating)
        assert node.plane.held(both) == {V6.floating}


def test_an_address_goes_by_itself_when_its_time_is_over(node: Node, family: Family) -> None:
    node.plane.hold(family.floating, family.own, LONG)
    node.plane.hold(family.floating, family.own, 1)
    assert node.plane.held([family.floating])
    node.eventually(lambda: not node.plane.held([family.floating]))
    node.plane.release(family.floating)


def test_what_cannot_be_is_refused(node: Node, family: Family) -> None:
    with pytest.raises(DriverError, match="no interface of this node has the address"):
        node.plane.hold(family.floating, "198.51.100.1/24" if family is V4 else "fd01::1/64", LONG)
    with pytest.raises(DriverError, match="this node does not have it"):
        node.plane.announce(family.floating)
    assert node.plane.held([family.floating]) == set()


@contextmanager
def acting(name: str) -> Iterator[LinuxNetwork]:
    with inside(name):
        yield LinuxNetwork(NetworkConfig())


@pytest.mark.services
def test_the_neighbours_follow_an_address_that_moves(family: Family) -> None:
    with switched_nodes(3) as (old, new, neighbour):
        with acting(old) as plane:
            plane.hold(family.floating, family.own, LONG)
        assert _pings(neighbour, family)
        assert _neighbour_mac(neighbour, family) == _mac(old)
        with acting(old) as plane:
            plane.release(family.floating)
        with acting(new) as plane:
            plane.hold(family.floating, family.own.replace("1/", "2/"), LONG)
            assert _neighbour_mac(neighbour, family) == _mac(old)
            plane.announce(family.floating)
        eventually(lambda: _neighbour_mac(neighbour, family) == _mac(new))
        assert _pings(neighbour, family)


@pytest.mark.services
def test_nothing_is_sent_from_a_floating_address_unasked(family: Family) -> None:
    """The node would be shut out of the storage by its own addresses only."""
    with switched_nodes(1) as (name,), acting(name) as plane:
        plane.hold(family.floating, family.own, LONG)
        route = json.loads(ip("-json", "route", "get", family.host[:-3] + "99"))[0]
        assert f"{route['prefsrc']}/" == family.own[: len(route["prefsrc"]) + 1]


@pytest.mark.services
def test_an_address_on_the_wrong_interface_is_moved(family: Family) -> None:
    with switched_nodes(1) as (name,), acting(name) as plane:
        ip("address", "add", family.floating, "dev", "lo")
        plane.hold(family.floating, family.own, LONG)
        links = json.loads(ip("-json", "address", "show", "to", family.host))
        assert [link["ifname"] for link in links if link.get("addr_info")] == [TRUNK]


def _pings(name: str, family: Family) -> bool:
    command = ["ip", "netns", "exec", name, "ping", "-c", "1", "-W", "2", family.host]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


def _neighbour_mac(name: str, family: Family) -> str:
    entries = json.loads(ip("-n", name, "-json", "neighbour", "show", "to", family.host))
    return str(entries[0]["lladdr"])


def _mac(name: str) -> str:
    return str(json.loads(ip("-n", name, "-json", "link", "show", TRUNK))[0]["address"])
