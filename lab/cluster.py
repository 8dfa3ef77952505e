"""The plan of a cluster: its hosts, networks and addresses, all derived from its name and index."""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from lab.errors import LabError, run

DEFAULT_STATE = Path("/var/lib/pvc-lab")
Profile = Literal["light", "full"]  # one of each service on a host of its own, or three of each on the nodes
FIRST_PORT = 7370
CLUSTERS = range(16)

# The subnets of all clusters that there can be.
ALL_SUBNETS = ("10.200.0.0/13", "10.208.0.0/13")

# Third byte of each network's subnet. ``provider`` is the trunk that carries the machines' bridged networks.
NETWORKS = {"upstream": 1, "cluster": 2, "storage": 3, "provider": 4, "bmc": 5}
MTU = {"upstream": 1500, "cluster": 9000, "storage": 9000, "provider": 9000, "bmc": 1500}
BMC_NETWORK = "bmc"
BMC_USER = "pvc"
INFRA = "infra"
COORDINATORS = ("node1", "node2", "node3")
NODES: dict[Profile, tuple[str, ...]] = {"light": COORDINATORS, "full": (*COORDINATORS, "node4")}


@dataclass(frozen=True)
class Cluster:
    """One cluster of the laboratory. ``index`` chooses its subnets, so clusters can stand side by side."""

    name: str
    index: int
    profile: Profile
    publish: int  # port on 127.0.0.1 that leads to the web server of a living node
    state: Path  # everything the cluster keeps on this machine's disk
    clock: int = 0  # seconds by which its clocks are ahead of this machine's

    @property
    def nodes(self) -> tuple[str, ...]:
        return NODES[self.profile]

    @property
    def coordinators(self) -> tuple[str, ...]:
        return COORDINATORS

    @property
    def backers(self) -> tuple[str, ...]:
        """The hosts that carry ZooKeeper, PostgreSQL, Redis and Ceph."""
        return (INFRA,) if self.profile == "light" else COORDINATORS

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.backers, *self.nodes)))

    @property
    def bmcs(self) -> tuple[str, ...]:
        """The nodes that have a BMC."""
        return self.nodes if self.profile == "full" else ()

    def site(self, node: str) -> str:
        """The room that a node stands in: two nodes in each, so that either may be lost."""
        return "ab"[self.nodes.index(node) // 2]

    def bmc(self, node: str) -> str:
        """The BMC of a node as an end of a cable: it is no host, but has an address and can be cut."""
        return f"{BMC_NETWORK}-{node}"

    def networks(self, end: str) -> tuple[str, ...]:
        """The networks that a host or a BMC has a cable to."""
        if end in map(self.bmc, self.bmcs):
            return (BMC_NETWORK,)
        return tuple(network for network in NETWORKS if self.bmcs or network != BMC_NETWORK)

    def subnet(self, network: str) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network((10 << 24 | (200 + self.index) << 16 | NETWORKS[network] << 8, 24))

    def interface(self, end: str, network: str) -> str:
        """Address of a host or a BMC in a network, in CIDR notation."""
        node = end.removeprefix(f"{BMC_NETWORK}-")
        number = 9 if node == INFRA else 11 + self.nodes.index(node)
        if network == BMC_NETWORK and node == end:
            number += 100  # a node's own address, beside that of its BMC
        return self._cidr(network, number)

    def address(self, end: str, network: str) -> str:
        return self.interface(end, network).partition("/")[0]

    def gateway(self, network: str) -> str:
        """Address of this machine's root namespace in a network, in CIDR notation."""
        return self._cidr(network, 1)

    @property
    def router(self) -> str:
        """Address of the line to another cluster in the upstream network, in CIDR notation."""
        return self._cidr("upstream", 2)

    def floating(self, network: str) -> str:
        """The primary's floating address in a network, in CIDR notation."""
        return self._cidr(network, 250)

    def _cidr(self, network: str, number: int) -> str:
        subnet = self.subnet(network)
        return f"{subnet[number]}/{subnet.prefixlen}"

    def identity(self, what: str) -> str:
        """A UUID that stays the same for this cluster's ``what``: an fsid, a host."""
        return str(uuid.uuid5(uuid.UUID(self.secret("identity")), what))

    def root(self, host: str) -> Path:
        """The private files of a host, laid out as it sees them."""
        return self.state / host / "root"

    def log(self, host: str, service: str) -> Path:
        return self.root(host) / "var/log" / f"{service}.log"

    @property
    def password_file(self) -> Path:
        return self.state / "admin.password"

    @property
    def token_file(self) -> Path:
        return self.state / "admin.token"

    @cached_property
    def _secrets(self) -> dict[str, str]:
        path = self.state / "secrets.json"
        if not path.exists():
            made = {name: secrets.token_urlsafe(32) for name in ("postgresql", "django", "cluster")}
            # IPMI takes passwords of 20 characters at most.
            _write(path, made | {"bmc": secrets.token_urlsafe(12), "identity": str(uuid.uuid4())})
        values = json.loads(path.read_text())
        return {name: str(value) for name, value in values.items()}

    def secret(self, name: str) -> str:
        """One of the cluster's secrets, made at random the first time: postgresql, django, cluster, bmc, identity."""
        return self._secrets[name]


def check_name(name: str) -> None:
    """Raise LabError unless ``name`` may be a cluster's: names of interfaces and files are made from it."""
    if not re.fullmatch(r"[a-z][a-z0-9]{0,7}", name):
        raise LabError(f"'{name}' is no name for a cluster: one to eight lower-case letters and digits, a letter first")


def load(name: str, state: Path) -> Cluster | None:
    """The cluster as it was planned, or None when there is none of this name."""
    try:
        plan = json.loads((state / name / "plan.json").read_text())
    except FileNotFoundError:
        return None
    return Cluster(**plan, state=state / name)


def plan(name: str, state: Path, profile: Profile, publish: int | None, clock: int = 0) -> Cluster:
    """Plan a new cluster with the first free index; nothing is made. Raises LabError when none is free."""
    taken = {other.index for other in all_clusters(state)}
    routes = _routes()
    for index in CLUSTERS:
        cluster = Cluster(name, index, profile, FIRST_PORT + index if publish is None else publish, state / name, clock)
        subnets = [cluster.subnet(network) for network in NETWORKS]
        if index not in taken and not any(subnet.overlaps(route) for subnet in subnets for route in routes):
            break
    else:
        raise LabError(f"no free subnets: this machine has routes or clusters in all of 10.{200}.0.0 to 10.{215}.0.0")
    return cluster


def save(cluster: Cluster) -> None:
    """Keep the plan, which makes the cluster exist for ``load``."""
    cluster.state.mkdir(parents=True, exist_ok=True)
    values = asdict(cluster)
    del values["state"]
    _write(cluster.state / "plan.json", values)


def all_clusters(state: Path) -> list[Cluster]:
    """Every cluster that has been planned on this machine under ``state``."""
    found = [load(path.parent.name, state) for path in state.glob("*/plan.json")]
    return [cluster for cluster in found if cluster]


def _write(path: Path, values: Mapping[str, object]) -> None:
    """Write a JSON file that root alone can read; it appears complete or not at all."""
    unfinished = path.with_suffix(".new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(values))
    unfinished.rename(path)


def _routes() -> list[ipaddress.IPv4Network]:
    """The networks that this machine has routes to, without the default route."""
    routes = json.loads(run("ip", "-4", "-json", "route", "show", "table", "all"))
    return [ipaddress.IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
