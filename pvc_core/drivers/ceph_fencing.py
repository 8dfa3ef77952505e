"""Whole hosts on Ceph's blocklist. Why it is done this way: docs/design/storage-fencing.md."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address, ip_address
from typing import Any

from pvc_core.drivers.ceph_connection import CephConnection
from pvc_core.errors import BadRequest, Conflict

WHOLE_HOST = ":0/0"  # port and nonce of an entry that is for every client at its address
SIDE_BY_SIDE = 8  # commands; the monitors put those that come together into one map


def plain(host: str) -> str:
    """An IP address in the one form in which addresses are compared. Raises BadRequest."""
    try:
        address = ip_address(host)
    except ValueError:
        raise BadRequest(f"{host!r} is no IP address, which looks like 10.0.0.1 or fd00::1") from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def host_of(address: str) -> str:
    """The IP address in one of Ceph's addresses: ``10.0.0.1:6800/123`` or ``[fd00::1]:0/0``, after ``v1:``, ``v2:`` or
    ``any:`` or without it."""
    socket = address.partition("/")[0].removeprefix("v1:").removeprefix("v2:").removeprefix("any:")
    return plain(socket.rpartition(":")[0].strip("[]"))


def shut_out(ceph: CephConnection, hosts: Collection[str], seconds: float) -> None:
    wanted = {plain(host) for host in hosts}
    if not wanted:
        raise BadRequest("no address is given that could be shut out")
    if own := wanted & ceph.own_hosts():
        raise Conflict(f"{', '.join(own)} is this client's own address, and nobody shuts out the host that it runs on")
    # OSDs go first: so whoever finds a host on the list, even after a caller that died halfway, knows that the OSDs
    # which are up there now came up with it on the list. They know the list, and each further shock would be for nothing.
    fresh = wanted - shut_out_hosts(ceph)
    _mark_down(ceph, fresh)
    _each(lambda host: _blocklist(ceph, "add", host, expire=float(seconds)), wanted)
    _mark_down(ceph, fresh)  # one that came up before its host was on the list
    ceph.wait_for_map()


def readmit(ceph: CephConnection, hosts: Collection[str]) -> None:
    _each(lambda host: _blocklist(ceph, "rm", host), {plain(host) for host in hosts} & shut_out_hosts(ceph))
    ceph.wait_for_map()


def shut_out_hosts(ceph: CephConnection) -> set[str]:
    return {host_of(address) for address in _map(ceph)["blocklist"] if address.endswith(WHOLE_HOST)}


def _mark_down(ceph: CephConnection, hosts: Collection[str]) -> None:
    ids = [str(osd["osd"]) for osd in _map(ceph)["osds"] if osd["up"] and _hosts_of_osd(osd) & set(hosts)]
    if ids:
        ceph.command("osd down", ids=ids)


def _hosts_of_osd(osd: dict[str, Any]) -> set[str]:
    return {host_of(entry["addr"]) for kind in ("public_addrs", "cluster_addrs") for entry in osd[kind]["addrvec"]}


def _map(ceph: CephConnection) -> dict[str, Any]:
    found: dict[str, Any] = ceph.command("osd dump")
    return found


def _blocklist(ceph: CephConnection, what: str, host: str, **arguments: object) -> None:
    address = f"[{host}]{WHOLE_HOST}" if ":" in host else host + WHOLE_HOST
    ceph.text("osd blocklist", blocklistop=what, addr=address, **arguments)


def _each(call: Callable[[str], None], hosts: Collection[str]) -> None:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(call, hosts))
