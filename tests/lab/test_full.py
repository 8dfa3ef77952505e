"""The full profile: three of each service on the nodes themselves, a fourth node, and BMCs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab import hosts
from lab.cluster import BMC_NETWORK, BMC_USER, Cluster
from lab.drive import Driver
from lab.errors import LabError
from lab.failover.rig import Rig
from lab.failover.rows import ROWS
from lab.failover.run import Outcome, run_once
from tests.lab.conftest import pvc_lab, standing

NAME = "cifull"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for this file alone: beside the light one, it would be too much for a small machine."""
    with standing(NAME, tmp_path_factory.mktemp("pvc-client"), "--profile", "full") as cluster:
        yield cluster


@pytest.fixture
def user(full: Cluster) -> Driver:
    return Driver(full)


def answers(user: Driver, host: str, *command: str) -> str:
    """Output of a command on a host; empty when it fails."""
    try:
        return user.on_host(host, *command)
    except LabError:
        return ""


def zookeeper_modes(user: Driver) -> list[str]:
    def mode(node: str) -> str:
        address = user.cluster.address(node, "cluster")
        ask = f"exec 3<>/dev/tcp/{address}/{hosts.ZOOKEEPER_PORT} && printf srvr >&3 && grep Mode <&3"
        return answers(user, node, "bash", "-c", ask).strip().removeprefix("Mode: ")

    return sorted(map(mode, user.cluster.coordinators))


def postgresql_roles(user: Driver) -> list[str]:
    node = user.cluster.coordinators[1]
    address = user.cluster.address(node, "cluster")
    listing = answers(user, node, "curl", "--silent", f"http://{address}:{hosts.PATRONI_PORT}/cluster")
    members = json.loads(listing)["members"] if listing else []
    return sorted(member["role"] for member in members if member["state"] in ("running", "streaming"))


def redis_roles(user: Driver) -> list[str]:
    def role(node: str) -> str:
        lines = answers(user, node, "redis-cli", "-h", user.cluster.address(node, "cluster"), "role").splitlines()
        return lines[0] if lines else ""

    return sorted(map(role, user.cluster.coordinators))


def ceph(user: Driver) -> tuple[int, int, bool]:
    """How many monitors are in the quorum, how many OSDs are up, and whether a manager is active."""
    command = ("ceph", "--connect-timeout", "10", "status", "--format", "json")
    status = json.loads(answers(user, user.cluster.nodes[-1], *command) or "null")
    if status is None:
        return 0, 0, False
    return len(status["quorum"]), status["osdmap"]["num_up_osds"], status["mgrmap"]["available"]


def await_all_members(user: Driver) -> None:
    user.wait("ZooKeeper's ensemble", lambda: zookeeper_modes(user) == ["follower", "follower", "leader"], 60)
    user.wait("Patroni's members", lambda: postgresql_roles(user) == ["leader", "replica", "sync_standby"], 60)
    user.wait("Redis' servers", lambda: redis_roles(user) == ["master", "slave", "slave"], 60)
    user.wait("Ceph's daemons", lambda: ceph(user) == (3, 3, True), 60)


def daemon_states(user: Driver) -> dict[str, str]:
    return {node["name"]: node["daemon_state"] for node in user.api("GET", "/node")}


def power(user: Driver, asker: str, node: str) -> str:
    """What the BMC of a node tells another node about its power; empty without an answer."""
    address = user.cluster.address(user.cluster.bmc(node), BMC_NETWORK)
    login = ("-H", address, "-U", BMC_USER, "-P", user.cluster.secret("bmc"))
    return answers(user, asker, "ipmitool", "-I", "lanplus", "-C", "3", "-N", "1", *login, "chassis", "power", "status")


def test_three_of_each_service_stand_together_on_the_nodes(user: Driver) -> None:
    assert daemon_states(user) == dict.fromkeys(["node1", "node2", "node3", "node4"], "run")
    roles = {node["name"]: node["coordinator_state"] for node in user.api("GET", "/node")}
    assert sorted(roles.values()) == ["hypervisor", "primary", "secondary", "secondary"]
    assert roles["node4"] == "hypervisor"
    await_all_members(user)


def test_a_node_reaches_the_bmc_of_another_until_its_cable_is_cut(user: Driver) -> None:
    assert "Power is on" in power(user, "node1", "node4")
    pvc_lab("cut", "node4", "bmc", name=NAME)
    assert power(user, "node1", "node4") == ""
    pvc_lab("heal", "node4", "bmc", name=NAME)
    user.wait("the BMC to answer", lambda: "Power is on" in power(user, "node1", "node4"), 30)


def test_a_paused_host_stands_still_until_it_is_resumed(user: Driver) -> None:
    def stopped() -> set[bool]:
        processes = [line.split() for line in user.on_host("node4", "ps", "-eo", "stat,comm").splitlines()[1:]]
        return {state.startswith("T") for state, command in processes if command != "ps"}

    pvc_lab("pause", "node4", name=NAME)
    assert stopped() == {True}
    assert "paused" in pvc_lab("status", name=NAME)
    pvc_lab("resume", "node4", name=NAME)
    assert stopped() == {False}


def test_a_reset_host_boots_by_itself_with_its_disk_and_with_its_cables_as_they_were(user: Driver) -> None:
    before = user.on_host("node4", "cat", "/run/boot-id")
    user.on_host("node4", "touch", "/var/lib/pvc/kept", "/run/lost")
    pvc_lab("cut", "node4", "provider", name=NAME)
    pvc_lab("reset", "node4", name=NAME)
    assert user.on_host("node4", "cat", "/run/boot-id") != before
    assert user.on_host("node4", "ls", "/var/lib/pvc/kept")
    with pytest.raises(LabError, match="lost"):
        user.on_host("node4", "ls", "/run/lost")
    assert user.on_host("node4", "cat", "/sys/class/net/provider/carrier").strip() == "0"
    pvc_lab("heal", "node4", name=NAME)
    assert user.on_host("node4", "cat", "/sys/class/net/provider/carrier").strip() == "1"
    user.wait("node4 to be back", lambda: daemon_states(user)["node4"] == "run", 90)


@pytest.mark.timeout(400)
def test_the_loss_of_a_coordinator_leaves_the_api_answering_and_its_services_rejoin(user: Driver) -> None:
    user.pvc("storage", "pool", "add", "kept", "8", "--replcfg", "copies=3,mincopies=2")
    user.on_host("node4", "rados", "--pool", "kept", "put", "object", "/etc/hostname")
    pvc_lab("kill", "node1", "--bmc", name=NAME)
    user.wait("the death to be seen", lambda: daemon_states(user)["node1"] in ("dead", "fenced"), 60)
    user.wait("the survivors", lambda: (daemon_states(user)["node2"], daemon_states(user)["node3"]) == ("run",) * 2, 60)
    user.wait("PostgreSQL's new pair", lambda: postgresql_roles(user) == ["leader", "sync_standby"], 60)
    user.wait("Ceph's survivors", lambda: ceph(user)[0] == 2, 60)
    pvc_lab("start", "node1", name=NAME)
    await_all_members(user)
    assert user.on_host("node1", "rados", "--pool", "kept", "get", "object", "-") == "node4\n"


@pytest.fixture(scope="module")
def rig(full: Cluster) -> Rig:
    rig = Rig(full)
    rig.set_up()
    return rig


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["hang", "paused", "primary"])
def test_what_goes_wrong_is_put_right_and_nothing_runs_twice(rig: Rig, name: str) -> None:
    outcome = Outcome()
    run_once(rig, ROWS[name], outcome)
    assert outcome.twice == 0
    print(name, outcome.seconds, outcome.remarks)
