"""Switches and cables: bridges in a network namespace of their own, and a veth pair to each host for each network."""

from __future__ import annotations

import json
from pathlib import Path

from lab.cluster import MTU, NETWORKS, Cluster
from lab.errors import run, succeeds

NAMESPACES = Path("/run/netns")


def switch(cluster: Cluster) -> str:
    """Name of the namespace that holds the cluster's bridges."""
    return f"pvclab-{cluster.name}"


def namespace(cluster: Cluster, host: str) -> str:
    """Name of a host's network namespace."""
    return f"{switch(cluster)}-{host}"


def port(host: str, network: str) -> str:
    """Name of the switch's end of a host's cable; at most 15 characters, the kernel's limit."""
    return f"{host}-{network}"


def _uplink(cluster: Cluster) -> str:
    """Name of the interface that joins the root namespace to the upstream network."""
    return f"pvclab-{cluster.name}"


def create_switch(cluster: Cluster) -> None:
    """Make the bridges, and this machine's own address in the upstream network. Nothing is done when they are there."""
    if (NAMESPACES / switch(cluster)).exists():
        return
    run("ip", "netns", "add", switch(cluster))
    for network in NETWORKS:
        _batch(switch(cluster), f"link add {network} type bridge", f"link set {network} mtu {MTU[network]} up")
    uplink = _uplink(cluster)
    run("ip", "link", "add", uplink, "type", "veth", "peer", "name", "root", "netns", switch(cluster))
    _batch(switch(cluster), "link set root master upstream up")
    run("ip", "address", "add", cluster.gateway("upstream"), "dev", uplink)
    run("ip", "link", "set", uplink, "up")


def connect(cluster: Cluster, host: str) -> None:
    """Make a host's network namespace and plug all its cables in. What is left of an earlier one is removed first."""
    disconnect(cluster, host)
    inside = namespace(cluster, host)
    run("ip", "netns", "add", inside)
    outer, inner = [], ["link set lo up"]
    for network in NETWORKS:
        cable = port(host, network)
        outer += [
            f"link add {cable} mtu {MTU[network]} type veth peer name {network} mtu {MTU[network]} netns {inside}",
            f"link set {cable} master {network} up",
        ]
        inner += [f"address add {cluster.interface(host, network)} dev {network}", f"link set {network} up"]
    _batch(switch(cluster), *outer)
    _batch(inside, *inner)


def disconnect(cluster: Cluster, host: str) -> None:
    """Remove a host's cables and its network namespace, as far as they are there."""
    for network in NETWORKS:
        # A namespace's interfaces go some time after the namespace; the cables' names must be free at once.
        succeeds(["ip", "-n", switch(cluster), "link", "delete", port(host, network)])
    if (NAMESPACES / namespace(cluster, host)).exists():
        run("ip", "netns", "delete", namespace(cluster, host))


def remove_switch(cluster: Cluster) -> None:
    """Remove the bridges and this machine's link to them, as far as they are there."""
    succeeds(["ip", "link", "delete", _uplink(cluster)])
    if (NAMESPACES / switch(cluster)).exists():
        run("ip", "netns", "delete", switch(cluster))


def set_cables(cluster: Cluster, host: str, networks: tuple[str, ...], *, up: bool) -> None:
    """Plug in or pull out a host's cables, at the switch's end: the host sees its carrier come or go."""
    _batch(switch(cluster), *(f"link set {port(host, network)} {'up' if up else 'down'}" for network in networks))


def cut_networks(cluster: Cluster, host: str) -> list[str]:
    """The networks whose cable to a host is pulled out."""
    links = json.loads(run("ip", "-n", switch(cluster), "-json", "link"))
    down = {link["ifname"] for link in links if "UP" not in link["flags"]}
    return [network for network in NETWORKS if port(host, network) in down]


def _batch(inside: str, *commands: str) -> None:
    """Run ip's ``commands`` in the namespace ``inside``, one after another; the first that fails raises LabError."""
    run("ip", "-n", inside, "-batch", "-", stdin="\n".join(commands) + "\n")
