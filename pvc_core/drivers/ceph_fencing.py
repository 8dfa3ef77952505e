"""Whole hosts on Ceph's blocklist. Why it is done this way: docs/design/storage-fencing.md."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from pvc_core.drivers.ceph_connection import CephConnection
from pvc_core.errors import BadRequest, Conflict
from pvc_core.model.address import plain

WHOLE_HOST = ":0/0"  # port and nonce of an entry that is for every client at its address
SIDE_BY_SIDE = 8  # commands; the monitors put those that come together into one map

# Every entry expires, and none can be prolonged: Ceph keeps the time of one that is there. So an entry is to outlast
# every absence, and one that somebody else made and that ends before does not count.
LASTING = timedelta(days=3650)
SHORT = timedelta(days=365)

ANSWER_LIMIT = 0.5  # seconds for an OSD to take a connection; all that a dead fencer held up waits for it


def host_of(address: str) -> str:
    """The IP address in one of Ceph's addresses: ``10.0.0.1:6800/123`` or ``[fd00::1]:0/0``, with or without ``v1:``,
    ``v2:`` or ``any:`` before it."""
    socket = address.partition("/")[0].removeprefix("v1:").removeprefix("v2:").removeprefix("any:")
    return plain(socket.rpartition(":")[0].removeprefix("[").removesuffix("]"))


def shut_out(ceph: CephConnection, hosts: Collection[str]) -> None:
    wanted = {plain(host) for host in hosts}
    if not wanted:
        raise BadRequest("no address is given that could be shut out")
    own = host_of(ceph.own_address())
    if own in wanted:
        raise Conflict(f"{own} is the address of this very client, which cannot shut itself out")
    listed = _listed(ceph)
    soon = datetime.now(UTC) + SHORT
    _unlist(ceph, {host for host in wanted & listed.keys() if listed[host] < soon})
    fresh = {host for host in wanted if host not in listed or listed[host] < soon}
    # OSDs go first. So whoever finds a host on the list, even after a caller that died halfway, knows that the OSDs
    # which are up there came up with the host on the list, and need not be marked down for it again.
    _mark_down(ceph, fresh)
    _each(lambda host: _blocklist(ceph, "add", host, expire=LASTING.total_seconds()), fresh)
    _mark_down(ceph, fresh)  # those that came up in between
    ceph.wait_for_map()


def readmit(ceph: CephConnection, hosts: Collection[str]) -> None:
    _unlist(ceph, {plain(host) for host in hosts} & _listed(ceph).keys())
    ceph.wait_for_map()


def drop_silent_osds(ceph: CephConnection, hosts: Collection[str]) -> list[int]:
    osds = _up_at(ceph, {plain(host) for host in hosts})
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        answers = list(pool.map(_answers, osds))
    silent = [osd["osd"] for osd, answer in zip(osds, answers, strict=True) if not answer]
    if silent:
        ceph.command("osd down", ids=[str(osd) for osd in silent])
    return silent


def shut_out_hosts(ceph: CephConnection) -> set[str]:
    return set(_listed(ceph))


def _listed(ceph: CephConnection) -> dict[str, datetime]:
    """Until when each host is on the list."""
    entries = _map(ceph)["blocklist"].items()
    return {host_of(name): datetime.fromisoformat(until) for name, until in entries if name.endswith(WHOLE_HOST)}


def _mark_down(ceph: CephConnection, hosts: Collection[str]) -> None:
    """Mark the OSDs down that are up at these hosts."""
    if not hosts:
        return
    if ids := [str(osd["osd"]) for osd in _up_at(ceph, hosts)]:
        ceph.command("osd down", ids=ids)


def _up_at(ceph: CephConnection, hosts: Collection[str]) -> list[dict[str, Any]]:
    """The OSDs that are up at these hosts."""
    return [osd for osd in _map(ceph)["osds"] if osd["up"] and not _osd_hosts(osd).isdisjoint(hosts)]


def _answers(osd: dict[str, Any]) -> bool:
    """Whether an OSD takes a connection."""
    address = osd["public_addrs"]["addrvec"][0]["addr"]
    try:
        socket.create_connection((host_of(address), int(address.rpartition(":")[2])), ANSWER_LIMIT).close()
    except OSError:
        return False
    return True


def _osd_hosts(osd: dict[str, Any]) -> set[str]:
    addresses = osd["public_addrs"]["addrvec"] + osd["cluster_addrs"]["addrvec"]
    return {host_of(address["addr"]) for address in addresses}


def _map(ceph: CephConnection) -> dict[str, Any]:
    found: dict[str, Any] = ceph.command("osd dump")
    return found


def _unlist(ceph: CephConnection, hosts: Collection[str]) -> None:
    _each(lambda host: _blocklist(ceph, "rm", host), hosts)


def _blocklist(ceph: CephConnection, change: str, host: str, **arguments: float) -> None:
    address = f"[{host}]" if ":" in host else host
    ceph.command("osd blocklist", blocklistop=change, addr=address + WHOLE_HOST, **arguments)


def _each(call: Callable[[str], None], hosts: Collection[str]) -> None:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(call, hosts))
