"""The configuration is valid as a whole, or refused with one line that says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pvc_core import config as configuration
from pvc_core.errors import BadRequest

LEAST: dict[str, Any] = {
    "node": {"name": "n1"},
    "zookeeper": {"hosts": ["zk1:2181"]},
    "postgresql": {"hosts": ["db"]},
    "redis": {"url": "redis://r"},
}


OWN = {"name": "n1", "addresses": {"upstream": "192.0.2.11/24"}}


def load(directory: Path, **more: Any) -> configuration.Config:
    path = directory / "pvc.conf"
    path.write_text(yaml.safe_dump(LEAST | more))
    return configuration.load(path)


def test_the_least_is_enough(tmp_path: Path) -> None:
    fencing = load(tmp_path).fencing
    assert (fencing.methods, fencing.suicide_intervals) == (("storage", "power"), 0)


def test_a_hypervisor_knows_the_floating_addresses_of_networks_that_it_is_not_in(tmp_path: Path) -> None:
    floating = {"upstream": "192.0.2.10/24", "cluster": "fd00::10/64"}
    config = load(tmp_path, node={"name": "n4", "role": "hypervisor"}, floating_addresses=floating)
    assert config.floating_addresses.upstream == "192.0.2.10/24"


def test_servers_have_their_usual_ports_unless_told_otherwise(tmp_path: Path) -> None:
    hosts = ["db1", "db2:5433", "[fd00::3]", "[fd00::4]:5434"]
    url = "sentinel://r1;sentinel://r2:26380/"
    config = load(tmp_path, postgresql={"hosts": hosts}, redis={"url": url, "master_name": "m"})
    assert config.postgresql.servers == (("db1", 5432), ("db2", 5433), ("fd00::3", 5432), ("fd00::4", 5434))
    assert config.redis.sentinels == (("r1", 26379), ("r2", 26380))
    assert load(tmp_path).redis.sentinels == ()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"postgresql": {"hosts": []}}, "postgresql.hosts: names no server"),
        ({"postgresql": {"hosts": ["fd00::1"]}}, "postgresql.hosts: 'fd00::1' is no server; write host, host:port or"),
        ({"postgresql": {"host": "db"}}, "missing required field `hosts`"),
        ({"redis": {"url": "sentinel://r1;sentinel://r2:x"}}, "redis.url: 'r2:x' is no server"),
        ({"redis": {"url": "http://r1"}}, "redis.url: 'http://r1' is neither redis://host:port/db nor sentinel://"),
        ({"fencing": {"failed_fence": "migrate"}}, "fencing.failed_fence: migrate would start a VM while"),
        ({"fencing": {"failed_fence": "pray"}}, "Invalid enum value 'pray' - at `$.fencing.failed_fence`"),
        ({"fencing": {"fence_intervals": 3}}, "fence_intervals: 3 keepalive intervals of 2 s end before the session"),
        ({"fencing": {"methods": ["storage", "watchdog"]}}, "watchdog needs fencing.suicide_intervals"),
        ({"fencing": {"intervals": 6}}, "unknown key fencing.intervals"),
        ({"floating_addresses": {"public": "192.0.2.10/24"}}, "unknown key floating_addresses.public"),
        ({"node": OWN, "floating_addresses": {"upstream": "192.0.2.10"}}, "no address in CIDR notation, such as"),
        ({"node": OWN, "floating_addresses": {"upstream": "192.0.2.11/24"}}, "is this node's own address"),
        (
            {"node": OWN, "floating_addresses": {"storage": "203.0.113.10/24"}},
            "floating_addresses.storage: node.addresses.storage, beside which it would be held, is missing",
        ),
        (
            {"node": {"name": "n1", "addresses": {"cluster": "n1"}}, "floating_addresses": {"cluster": "fd00::1/64"}},
            "node.addresses.cluster: 'n1' is no address such as 10.0.0.1/24",
        ),
        (
            {
                "node": OWN,
                "floating_addresses": {"upstream": "192.0.2.10/24"},
                "zookeeper": {"hosts": ["zk1:2181"], "session_timeout": 3},
            },
            "zookeeper.session_timeout: floating addresses need at least 4 s",
        ),
        ({"node": {"name": "n1", "bmc": {"address": "x"}}}, "missing required field `user`"),
        ({"node": {"name": "n1", "bmc": {"address": "x", "user": "u", "driver": "ilo"}}}, "'ilo'"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        load(tmp_path, **more)
    assert str(tmp_path / "pvc.conf") in str(refused.value)
    assert message in str(refused.value)


def test_a_nodes_addresses_are_kept_in_their_shortest_form(tmp_path: Path) -> None:
    config = load(tmp_path, node={"name": "n1", "addresses": {"cluster": "FD00:0::0001/64"}})
    assert config.node.addresses.cluster == "fd00::1/64"
