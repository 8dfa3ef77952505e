"""Switches and cables: bridges in a network namespace of their own, and a veth pair for each network to each host and
BMC."""

from __future__ import annotations

from pathlib import Path

from lab.cluster import ALL_SUBNETS, BMC_NETWORK, MTU, Cluster
from lab.errors import run, succeeds

NAMESPACES = Path("/run/netns")


def switch(cluster: Cluster) -> str:
    """Name of the namespace that holds the cluster's bridges."""
    return f"pvclab-{cluster.name}"


def namespace(cluster: Cluster, end: str) -> str:
    """Name of the network namespace of a host or a BMC."""
    return f"{switch(cluster)}-{end}"


def port(end: str, network: str) -> str:
    """Name of the switch's end of a cable to a host or a BMC; at most 15 characters, the kernel's limit."""
    return f"{end}-{network}"


def _uplink(cluster: Cluster) -> str:
    """Name of the interface that joins the root namespace to the upstream network."""
    return f"pvclab-{cluster.name}"


def create_switch(cluster: Cluster) -> None:
    """Make the bridges, and this machine's own address in the upstream network. Nothing is done when they are there."""
    if (NAMESPACES / switch(cluster)).exists():
        return
    run("ip", "netns", "add", switch(cluster))
    for network in cluster.networks(cluster.nodes[0]):
        _batch(switch(cluster), f"link add {network} type bridge", f"link set {network} mtu {MTU[network]} up")
    uplink = _uplink(cluster)
    run("ip", "link", "add", uplink, "type", "veth", "peer", "name", "root", "netns", switch(cluster))
    _batch(switch(cluster), "link set root master upstream up")
    run("ip", "address", "add", cluster.gateway("upstream"), "dev", uplink)
    run("ip", "link", "set", uplink, "up")


def connect(cluster: Cluster, end: str) -> None:
    """Make the network namespace of a host or a BMC and plug all its cables in; what is left of an earlier one is
    removed first."""
    disconnect(cluster, end)
    inside = namespace(cluster, end)
    run("ip", "netns", "add", inside)
    outer, inner = [], ["link set lo up"]
    for network in cluster.networks(end):
        cable, mtu = port(end, network), MTU[network]
        card = f"name {network} address {mac(cluster.address(end, network))}"
        outer += [
            f"link add {cable} mtu {mtu} type veth peer {card} mtu {mtu} netns {inside}",
            f"link set {cable} master {network} {'down' if _pulled_out(cluster, end, network).exists() else 'up'}",
        ]
        inner += [f"address add {cluster.interface(end, network)} dev {network}", f"link set {network} up"]
        if network == "upstream":  # leads nowhere as long as there is no line to another cluster
            router = cluster.router.partition("/")[0]
            inner += [f"route add {subnets} via {router} dev {network}" for subnets in ALL_SUBNETS]
    _batch(switch(cluster), *outer)
    _batch(inside, *inner)


def mac(address: str) -> str:
    """Hardware address of what has an IP address: the same after each start, since its neighbours remember it."""
    return ":".join(["02", "00", *(f"{int(byte):02x}" for byte in address.split("."))])


def is_connected(cluster: Cluster, end: str) -> bool:
    return (NAMESPACES / namespace(cluster, end)).exists()


def disconnect(cluster: Cluster, end: str) -> None:
    """Remove the cables of a host or a BMC and its network namespace, as far as they are there."""
    for network in cluster.networks(end):
        # A namespace's interfaces go some time after the namespace; the cables' names must be free at once.
        succeeds(["ip", "-n", switch(cluster), "link", "delete", port(end, network)])
    if is_connected(cluster, end):
        run("ip", "netns", "delete", namespace(cluster, end))


def remove_switch(cluster: Cluster) -> None:
    """Remove the bridges and this machine's link to them, as far as they are there."""
    succeeds(["ip", "link", "delete", _uplink(cluster)])
    if (NAMESPACES / switch(cluster)).exists():
        run("ip", "netns", "delete", switch(cluster))


def set_cables(cluster: Cluster, host: str, networks: tuple[str, ...], *, up: bool) -> None:
    """Plug in or pull out a host's cables, at the switch's end: the host sees its carrier come or go.

    With the cable to the BMCs' network goes that of the host's own BMC. What is pulled out stays so when the host loses
    its power and starts anew.
    """
    cables = [(host, network) for network in networks]
    if BMC_NETWORK in networks and host in cluster.bmcs:
        cables.append((cluster.bmc(host), BMC_NETWORK))
    for end, network in cables:
        mark = _pulled_out(cluster, end, network)
        if up:
            mark.unlink(missing_ok=True)
        else:
            mark.parent.mkdir(exist_ok=True)
            mark.touch()
    present = [port(end, network) for end, network in cables if is_connected(cluster, end)]
    _batch(switch(cluster), *(f"link set {name} {'up' if up else 'down'}" for name in present))


def cut_networks(cluster: Cluster, host: str) -> list[str]:
    """The networks whose cable to a host is pulled out."""
    return [network for network in cluster.networks(host) if _pulled_out(cluster, host, network).exists()]


def _pulled_out(cluster: Cluster, end: str, network: str) -> Path:
    """A file that exists as long as the cable is pulled out."""
    return cluster.state / "cut" / port(end, network)


def _batch(inside: str, *commands: str) -> None:
    """Run ip's ``commands`` in the namespace ``inside``, one after another; the first that fails raises LabError."""
    run("ip", "-n", inside, "-batch", "-", stdin="\n".join(commands) + "\n")
