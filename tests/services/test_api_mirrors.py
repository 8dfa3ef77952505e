"""Mirrors over the API: how they are shown, and what is sent for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from rest_framework.test import APIClient

from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, PeerWatch, Promotion
from pvc_core.model.task import Role
from pvc_core.model.vm import VmState
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from pvc_web.peers.models import Peer
from pvc_web.tasks.models import Task
from tests.services import world

FIRST = Lineage((Promotion(1, "fsid-east", "", forced=False, time=time.time() - 9000),))
URI = "https://west.example.com:7370/api/v1"


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An administrator's, of a cluster that knows its fsid and a peer."""
    world.populate(cluster)
    entry = cluster.get(records.STORAGE)
    cluster.transaction().update(entry, replace(entry.value, fsid="fsid-east", unsent={world.WEB: 4096})).commit()
    Peer.objects.create(name="west", api_uri=URI, token="secret")
    connections.view().settle()
    return api(Role.ADMINISTRATOR)


def add_mirror(state: ClusterState, uuid: str, role: MirrorRole, **watch: Any) -> None:
    mirror = Mirror(uuid, "west", role, FIRST, shared="s1", shared_created=time.time() - 50, goal=120.0)
    state.transaction().create(records.mirror(uuid), mirror).commit()
    if watch:
        state.transaction().create(records.peer("west"), PeerWatch("west", **watch)).commit()
    connections.view().settle()


def set_state(state: ClusterState, uuid: str, wanted: VmState) -> None:
    entry = state.get(records.vm(uuid))
    state.transaction().update(entry, replace(entry.value, state=wanted)).commit()
    connections.view().settle()


def sent() -> tuple[str, dict[str, Any]]:
    task = Task.objects.get()
    return task.operation, task.arguments


def test_a_machine_is_shown_with_its_mirror(client: APIClient, cluster: ClusterState) -> None:
    now = time.time()
    add_mirror(cluster, world.WEB, MirrorRole.PRIMARY, since=now - 500, attempted=now, answered=now)
    document = client.get("/api/v1/vm/web/mirror").json()
    assert client.get("/api/v1/vm/web").json()["mirror"].keys() == document.keys()
    assert 50 <= document.pop("lag_seconds") < 60
    assert 0 <= document.pop("answered") < 10
    assert document == {
        "peer": "west",
        "role": "primary",
        "epoch": 1,
        "forced": False,
        "snapshot": "s1",
        "lag_bytes": 4096,
        "goal": 120.0,
        "hindrance": "",
    }
    assert client.get("/api/v1/vm/db").json()["mirror"] is None
    assert client.get("/api/v1/vm/db/mirror").status_code == 404


def test_another_cluster_hears_of_all_mirrors(client: APIClient, cluster: ClusterState) -> None:
    add_mirror(cluster, world.WEB, MirrorRole.PRIMARY)
    word = client.get("/api/v1/mirrors").json()
    assert word["fsid"] == "fsid-east"
    assert abs(word["time"] - time.time()) < 10
    assert msgspec.convert(word["mirrors"][world.WEB]["lineage"], Lineage) == FIRST


def test_a_mirror_is_made_at_a_peer(client: APIClient) -> None:
    answer = client.post("/api/v1/vm/web/mirror/create", {"peer": "west", "goal": 60})
    assert answer.status_code == 202
    assert sent() == ("vm.mirror.create", {"vm": world.WEB, "peer": "west", "pool": "", "goal": 60.0})


def test_a_mirror_is_made_at_an_address_whose_key_is_kept_apart(client: APIClient) -> None:
    given = {"destination_api_uri": "https://north.example.com/api/v1", "destination_api_key": "hidden-key"}
    assert client.post("/api/v1/vm/db/mirror/create", given).status_code == 202
    assert sent()[1]["peer"] == Peer.objects.get(api_uri="https://north.example.com/api/v1").name
    assert "hidden-key" not in str(Task.objects.values())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "peer: give the other cluster's name"),
        ({"peer": "south"}, "there is no peer 'south'"),
        ({"peer": "west", "destination_api_uri": URI, "destination_api_key": "k"}, "give either peer, or"),
        ({"destination_api_uri": URI}, "give either peer, or"),
    ],
)
def test_a_destination_that_cannot_be(client: APIClient, body: dict[str, str], says: str) -> None:
    answer = client.post("/api/v1/vm/web/mirror/create", body)
    assert answer.status_code in (400, 404)
    assert says in answer.json()["message"]
    assert not Task.objects.exists()


def test_a_promotion_goes_to_where_the_mirror_is(client: APIClient, cluster: ClusterState) -> None:
    add_mirror(cluster, world.WEB, MirrorRole.PRIMARY)
    assert client.post("/api/v1/vm/web/mirror/promote", {"remove_on_source": "true"}).status_code == 202
    assert sent() == ("vm.mirror.promote", {"vm": world.WEB, "peer": "west", "pool": "", "remove": True})


def test_a_promotion_by_force_is_of_the_copy_here(client: APIClient, cluster: ClusterState) -> None:
    add_mirror(cluster, world.DB, MirrorRole.SECONDARY)
    set_state(cluster, world.DB, VmState.MIRROR)
    assert client.post("/api/v1/vm/db/mirror/promote", {"force": "true"}).status_code == 202
    assert sent() == ("vm.mirror.force", {"vm": world.DB, "state": "start"})


@pytest.mark.parametrize("state", ["start", "stop", "disable"])
def test_the_state_of_a_mirror_is_changed_by_force_only(client: APIClient, cluster: ClusterState, state: str) -> None:
    add_mirror(cluster, world.DB, MirrorRole.SECONDARY)
    set_state(cluster, world.DB, VmState.MIRROR)
    refused = client.post("/api/v1/vm/db/state", {"state": state})
    assert refused.status_code == 409
    assert "is a mirror that cluster west leads" in refused.json()["message"]
    assert client.post("/api/v1/vm/db/state", {"state": state, "force": "true"}).status_code == 200
    assert sent() == ("vm.mirror.force", {"vm": world.DB, "state": state})


def test_a_machine_that_waits_for_its_peer_is_started_by_force(client: APIClient, cluster: ClusterState) -> None:
    now = time.time()
    add_mirror(cluster, world.DB, MirrorRole.PRIMARY, since=now - 30, attempted=now, answered=now - 4000)
    assert client.post("/api/v1/vm/db/state", {"state": "start", "force": "true"}).status_code == 200
    assert sent() == ("vm.mirror.force", {"vm": world.DB, "state": "start"})


def test_force_changes_nothing_for_a_machine_without_a_mirror(client: APIClient) -> None:
    assert client.post("/api/v1/vm/db/state", {"state": "start", "force": "true"}).status_code in (200, 400, 409)
    assert not Task.objects.filter(operation="vm.mirror.force").exists()


def test_a_request_to_take_over_has_to_name_promotions(client: APIClient, cluster: ClusterState) -> None:
    add_mirror(cluster, world.DB, MirrorRole.SECONDARY)
    for lineage in ("nonsense", '{"promotions": []}'):
        answer = client.post("/api/v1/vm/db/mirror/take-over", {"lineage": lineage})
        assert answer.status_code == 400
        assert answer.json()["message"].startswith("lineage:")


def test_a_request_to_take_over_is_passed_on_whole(client: APIClient, cluster: ClusterState) -> None:
    add_mirror(cluster, world.DB, MirrorRole.SECONDARY)
    back = Lineage((*FIRST.promotions, Promotion(2, "fsid-west", "s1", forced=False, time=1.5)))
    body = {"lineage": msgspec.json.encode(back).decode(), "start": True}
    answer = client.post("/api/v1/vm/db/mirror/take-over", body, format="json")
    assert answer.status_code == 202, answer.json()
    operation, arguments = sent()
    assert (operation, arguments["start"]) == ("vm.mirror.take_over", True)
    assert msgspec.convert(arguments["lineage"], Lineage) == back
