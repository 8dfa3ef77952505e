"""How soon a small task begins while the node is busy with long copies."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import rados
import rbd

from benchmarks import web
from benchmarks.figures import Figure, Goal, from_samples, worst
from benchmarks.web import Client
from lab.local import LocalServices
from pvc_core.config import ZookeeperConfig
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.model.node import Addresses, Node, NodeRole
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState

POOL = "vms"
VOLUMES = "storage/ceph/volume"
BULK_TASKS = 100
WAITING = 50  # bulk tasks that have to be in the queue all the while
CONTROL_TASKS = 120
IMAGE_BYTES = 32 * 1024**2
PACE = 0.05  # seconds between two requests: one person's script, not a flood
END_LIMIT = 60.0  # seconds for the small tasks to end
FIRST_VNI = 1000
RESPOND_AT_ONCE = {"Prefer": "respond-async"}


def figures() -> Iterator[Figure]:
    with LocalServices(ceph=True) as services, ExitStack() as stack:
        _register_node(services)
        site = stack.enter_context(web.api(services))
        for lane in ("control", "bulk"):
            stack.enter_context(web.daemon(services, f"worker-{lane}", "-m", "pvc_tasks.worker", lane))
        client = Client(site)
        _wait_task(client, _submit(client, "storage/ceph/pool", pool=POOL, pgs="8", replcfg="copies=1,mincopies=1"))
        _create_sources(services, client)
        for number in range(BULK_TASKS):
            _submit(client, f"{VOLUMES}/{POOL}/source{number:03d}/clone", new_volume=f"copy{number:03d}")
        answered = {}
        for number in range(CONTROL_TASKS):
            network = {"vni": str(FIRST_VNI + number), "description": f"net{number}", "nettype": "bridged"}
            task = _submit(client, "network", **network)
            answered[task] = time.time()
            time.sleep(PACE)
        waiting = json.loads(client.get("/api/v1/tasks?state=PENDING&limit=0").body)["total"]
        ended = [_wait_task(client, task) for task in answered]
        client.close()
    yield Figure("bulk tasks still waiting when the last began", "", waiting, goal=Goal(WAITING, at_least=True))
    delays = [_milliseconds(answered[task["task_id"]], task["started"]) for task in ended]
    accepted = [_milliseconds(task["created"], task["started"]) for task in ended]
    yield from_samples("API's answer to first step, bulk lane full", "ms", delays, Goal(50))
    yield Figure("  its 99th percentile", "ms", worst(delays), goal=Goal(250))
    yield from_samples("  from the record in the database to first step", "ms", accepted)


def _register_node(services: LocalServices) -> None:
    """What the node's daemon does when it starts: there is none here, since no machine is."""
    store = ZookeeperStore(ZookeeperConfig(hosts=(services.zookeeper,)))
    try:
        state = ClusterState(store)
        state.prepare()
        state.put(records.node("node1"), Node("node1", NodeRole.COORDINATOR, Addresses(cluster="127.0.0.1/8")))
    finally:
        store.close()


def _create_sources(services: LocalServices, client: Client) -> None:
    """Volumes full of data, one for each bulk task: two tasks never work on the same one."""
    names = [f"source{number:03d}" for number in range(BULK_TASKS)]
    for task in [_submit(client, VOLUMES, volume=name, pool=POOL, size=str(IMAGE_BYTES)) for name in names]:
        _wait_task(client, task)
    content = os.urandom(IMAGE_BYTES)
    with (
        rados.Rados(conffile=str(services.ceph_config), rados_id="admin") as ceph,
        ceph.open_ioctx(POOL) as pool,
    ):
        for name in names:
            with rbd.Image(pool, name) as image:
                image.write(content, 0)
    client.close()  # idle for so long that the server has hung up


def _submit(client: Client, path: str, **parameters: str) -> str:
    """Ask for work, and answer with the id of its task."""
    answer = client.request("POST", f"/api/v1/{path}?{urlencode(parameters)}", RESPOND_AT_ONCE)
    if answer.status != 202:
        raise RuntimeError(f"POST {path} answered {answer.status}: {answer.body.decode(errors='replace')[:300]}")
    return str(json.loads(answer.body)["task_id"])


def _wait_task(client: Client, task_id: str) -> dict[str, Any]:
    """The task once it has succeeded. Raises RuntimeError when it ends otherwise, or not in time."""
    deadline = time.monotonic() + END_LIMIT
    while time.monotonic() < deadline:
        task: dict[str, Any] = json.loads(client.get(f"/api/v1/tasks/{task_id}?wait=10").body)
        if task["state"] == "SUCCESS":
            return task
        if task["ended"]:
            raise RuntimeError(f"{task['task_name']} ended as {task['state']}: {task['status']}")
    raise RuntimeError(f"task {task_id} did not end within {END_LIMIT:g} s")


def _milliseconds(since: str | float, until: str) -> float:
    """From one moment to the other; nothing when the second came first."""
    begin = since if isinstance(since, float) else datetime.fromisoformat(since).timestamp()
    return max(0.0, (datetime.fromisoformat(until).timestamp() - begin) * 1000)
