"""Pools of Ceph that hold RBD images."""

from __future__ import annotations

import time
from contextlib import suppress

import rados
import rbd

from pvc_core.drivers.ceph_connection import CephConnection, translated
from pvc_core.errors import Conflict, DriverUnavailable, NotFound
from pvc_core.model.storage import PoolStats

TIMEOUT = 120.0  # seconds for the placement groups of a new pool to become active
POLL = 0.2


def create(ceph: CephConnection, name: str, pgs: int, replicas: int, min_replicas: int, tier: str) -> None:
    if ceph.pool_exists(name):
        raise Conflict(f"pool {name} exists already in Ceph")
    rule = {} if tier == "default" else {"rule": _tier_rule(ceph, tier)}
    # The number of placement groups is the administrator's choice, so Ceph must not change it on its own.
    ceph.command(
        "osd pool create",
        pool=name,
        pool_type="replicated",
        pg_num=pgs,
        pgp_num=pgs,
        size=replicas,
        autoscale_mode="off",
        **rule,
    )
    try:
        _set(ceph, name, "min_size", min_replicas)
        _wait_active(ceph, name, pgs)
        with ceph.pool(name) as context, translated(f"pool {name}"):
            rbd.RBD().pool_init(context, True)
        _wait_counted(ceph, name)
    except BaseException:
        remove(ceph, name)
        raise


def set_pgs(ceph: CephConnection, name: str, pgs: int) -> None:
    _set(ceph, name, "pg_num", pgs)


def set_replication(ceph: CephConnection, name: str, replicas: int, min_replicas: int) -> None:
    # Ceph wants to hear twice that nothing but one copy is to be kept.
    sure = {"yes_i_really_mean_it": True} if replicas == 1 else {}
    _set(ceph, name, "size", replicas, **sure)
    _set(ceph, name, "min_size", min_replicas)  # after it, since Ceph moves this limit along with the size


def remove(ceph: CephConnection, name: str) -> None:
    if not ceph.pool_exists(name):
        raise NotFound(f"pool {name} does not exist in Ceph")
    ceph.command("osd pool delete", pool=name, pool2=name, yes_i_really_really_mean_it=True)
    ceph.wait_for_map()  # without it this client would find the pool for a moment longer


def stats(ceph: CephConnection) -> dict[str, PoolStats]:
    found = {}
    for row in ceph.command("df", detail="detail")["pools"]:
        with suppress(NotFound), ceph.pool(row["name"]) as context:
            found[row["name"]] = _stats(row, context)
    return found


def _set(ceph: CephConnection, name: str, variable: str, value: int, **more: bool) -> None:
    ceph.command("osd pool set", pool=name, var=variable, val=str(value), **more)


def _tier_rule(ceph: CephConnection, tier: str) -> str:
    """Name of the placement rule for a device class, made when it is missing."""
    rule = f"{tier}_tier"
    if rule not in ceph.command("osd crush rule ls"):
        # A cluster that may keep copies on one host says so in this option.
        domain = "osd" if ceph.option("osd_crush_chooseleaf_type") == "0" else "host"
        arguments = {"name": rule, "root": "default", "type": domain, "class": tier}
        ceph.command("osd crush rule create-replicated", **arguments)
    return rule


def _wait_active(ceph: CephConnection, pool: str, pgs: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while (active := _active(ceph, pool)) < pgs:
        if time.monotonic() > deadline:
            raise DriverUnavailable(
                f"Ceph: only {active} of the {pgs} placement groups of pool {pool} became active within {TIMEOUT:g} s"
            )
        time.sleep(POLL)


def _wait_counted(ceph: CephConnection, pool: str) -> None:
    """Wait until Ceph's figures have a pool, by which it is seen whether there is room in it."""
    deadline = time.monotonic() + TIMEOUT
    while pool not in stats(ceph):
        if time.monotonic() > deadline:
            raise DriverUnavailable(f"Ceph: pool {pool} is not in the figures of its pools after {TIMEOUT:g} s")
        time.sleep(POLL)


def _active(ceph: CephConnection, pool: str) -> int:
    groups = ceph.manager_report("pg ls-by-pool", poolstr=pool)["pg_stats"]
    return sum("active" in group["state"].split("+") for group in groups)


def _stats(row: dict[str, object], context: rados.Ioctx) -> PoolStats:
    usage, counts = row["stats"], context.get_stats()
    assert isinstance(usage, dict)
    return PoolStats(
        id=context.get_pool_id(),
        stored_bytes=usage["stored"],
        free_bytes=usage["max_avail"],
        used_bytes=usage["bytes_used"],
        used_percent=usage["percent_used"],
        num_objects=counts["num_objects"],
        num_object_clones=counts["num_object_clones"],
        num_object_copies=counts["num_object_copies"],
        num_objects_missing_on_primary=counts["num_objects_missing_on_primary"],
        num_objects_unfound=counts["num_objects_unfound"],
        num_objects_degraded=counts["num_objects_degraded"],
        read_ops=usage["rd"],
        read_bytes=usage["rd_bytes"],
        write_ops=usage["wr"],
        write_bytes=usage["wr_bytes"],
    )
