"""The line between two clusters: what goes through, how fast, and that nothing of it outlives either cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab import certificates, hosts, link, namespaces, network
from lab import cluster as plans
from lab.cluster import Cluster
from lab.context import planning
from lab.errors import LabError
from lab.link import Link
from lab.up import down, prepare
from tests.lab.conftest import pvc_lab

NAMES = ("lineeast", "linewest")
NODE = "node1"
PORT = 9
SENT = 1 << 20  # bytes


def plan(name: str) -> Cluster:
    """A cluster of which nothing is there but switches and the cables of one node."""
    with planning(plans.DEFAULT_STATE):
        cluster = plans.load(name, plans.DEFAULT_STATE)
        if cluster is not None:  # what an interrupted run left
            down(cluster)
        cluster = plans.plan(name, plans.DEFAULT_STATE, "light", None)
        plans.save(cluster)
    prepare(cluster)
    network.connect(cluster, NODE)
    return cluster


def remove(cluster: Cluster) -> None:
    with planning(plans.DEFAULT_STATE):
        down(cluster)


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[Cluster, Cluster]]:
    clusters = []
    try:
        for name in NAMES:
            clusters.append(plan(name))
        yield clusters[0], clusters[1]
    finally:
        for cluster in clusters:
            with suppress(FileNotFoundError):  # a test has taken it down
                remove(cluster)
    assert not [path for path in network.NAMESPACES.glob("*") if any(name in path.name for name in NAMES)]
    assert not [host for cluster in clusters for _, host in namespaces.processes(cluster)]


@pytest.fixture
def line(ends: tuple[Cluster, Cluster]) -> Iterator[Link]:
    line = link.between(*ends)
    line.up()
    yield line
    line.down()


def inside(cluster: Cluster, *argv: str) -> list[str]:
    return ["nsenter", f"--net={network.NAMESPACES / network.namespace(cluster, NODE)}", *argv]


def ping(ends: tuple[Cluster, Cluster], *options: str) -> list[float]:
    """Milliseconds there and back of each ping that was answered, from the first cluster's node to the second's."""
    target = ends[1].address(NODE, "upstream")
    done = subprocess.run(inside(ends[0], "ping", "-n", *options, target), capture_output=True, text=True, timeout=30)
    return [float(word.removeprefix("time=")) for word in done.stdout.split() if word.startswith("time=")]


def transfer(ends: tuple[Cluster, Cluster]) -> float:
    """Seconds that SENT bytes take from the first cluster's node to the second's."""
    address = ends[1].address(NODE, "upstream")
    receive = (
        f"import socket; s = socket.create_server(('{address}', {PORT})); print(flush=True); c, _ = s.accept()\n"
        f"n = 0\nwhile d := c.recv(65536): n += len(d)\nprint(n)"
    )
    send = (
        f"import socket; c = socket.create_connection(('{address}', {PORT}), 10); c.sendall(bytes({SENT})); c.close()"
    )
    receiver = subprocess.Popen(inside(ends[1], sys.executable, "-c", receive), stdout=subprocess.PIPE, text=True)
    try:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        begun = time.monotonic()
        subprocess.run(inside(ends[0], sys.executable, "-c", send), check=True, timeout=60)
        received, _ = receiver.communicate(timeout=60)
        assert int(received) == SENT
        return time.monotonic() - begun
    finally:
        receiver.kill()
        receiver.wait()


def test_nodes_of_two_clusters_reach_each_other_by_the_line_only(line: Link) -> None:
    assert len(ping(line.ends, "-c", "1", "-W", "5")) == 1
    line.set_cut(True)
    assert line.condition().cut
    assert ping(line.ends, "-c", "1", "-W", "1") == []
    line.set_cut(False)
    assert len(ping(line.ends, "-c", "1", "-W", "5")) == 1
    line.down()
    assert not line.exists
    assert ping(line.ends, "-c", "1", "-W", "1") == []


def test_a_connection_outlives_a_short_cut(line: Link) -> None:
    line.set_rate(4e6)  # SENT bytes take two seconds
    mender = threading.Timer(1.5, line.set_cut, (False,))
    cutter = threading.Timer(0.5, line.set_cut, (True,))
    cutter.start()
    mender.start()
    transfer(line.ends)
    cutter.join()
    mender.join()


def test_a_limited_line_lets_no_more_through(line: Link) -> None:
    line.set_rate(4e6)
    assert line.condition().rate == 4e6
    assert transfer(line.ends) >= 0.9 * 8 * SENT / 4e6
    line.set_rate(0)
    assert line.condition().rate == 0


def test_a_long_line_delays_each_direction(line: Link) -> None:
    line.set_delay(0.05)
    assert line.condition().delay == 0.05
    times = ping(line.ends, "-c", "5", "-i", "0.05", "-W", "5")
    assert len(times) == 5
    assert min(times) >= 100
    transfer(line.ends)
    line.set_delay(0)
    assert line.condition().delay == 0
    assert min(ping(line.ends, "-c", "2", "-i", "0.05", "-W", "5")) < 50


def test_a_cluster_has_one_line_at_most(line: Link, cluster: Cluster) -> None:
    with pytest.raises(LabError, match="has a line to another cluster already"):
        link.between(line.ends[0], cluster).up()


def test_an_unknown_cluster_and_a_wrong_rate_are_named() -> None:
    argv = [sys.executable, "-m", "lab.main", "link", NAMES[0]]
    unknown = subprocess.run([*argv, "nowhere"], capture_output=True, text=True)
    assert "there is no cluster" in unknown.stderr
    wrong = subprocess.run([*argv, NAMES[1], "--rate", "fast"], capture_output=True, text=True)
    assert "'fast' is no rate" in wrong.stderr


def test_the_api_of_the_other_cluster_answers_over_https_and_the_line_goes_with_a_cluster(
    ends: tuple[Cluster, Cluster], cluster: Cluster
) -> None:
    shown = pvc_lab("link", NAMES[0], cluster.name, "--delay", "5ms")
    assert hosts.https_address(cluster) in shown
    authority = certificates.authority(plans.DEFAULT_STATE)
    argv = ["curl", "--silent", "--fail", "--max-time", "20", "--cacert", str(authority), "--config", "-"]
    header = f'header = "X-Api-Key: {cluster.token_file.read_text().strip()}"'
    for address in (hosts.https_address(cluster), f"https://{cluster.address('node2', 'upstream')}:{hosts.HTTPS_PORT}"):
        asked = inside(ends[0], *argv, f"{address}/api/v1/status/primary_node")
        done = subprocess.run(asked, input=header, capture_output=True, text=True)
        assert json.loads(done.stdout)["primary_node"] in cluster.nodes
    remove(ends[0])
    assert link.of(cluster) == []
    assert not [host for _, host in namespaces.processes(cluster) if host.startswith("link-")]
