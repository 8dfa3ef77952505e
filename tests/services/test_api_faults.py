"""Faults in the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rest_framework.test import APIClient

from pvc_core.model.fault import FaultStatus, Finding, raised
from pvc_core.model.task import Role
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from tests.services import world
from tests.services.processes import Workers

FULL = raised(Finding("plugin:node1:disk", "node1", 10, "node1: plugin 'disk': 91% full"), 1701000000.0, 1702000000.0)
FENCED = replace(
    raised(Finding("fenced:node2:1", "node2", 20, "node2: was fenced", event=True), 1701900000.0, 1701900000.0),
    status=FaultStatus.ACK,
    acknowledged_at=1701900060.5,
)


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An operator's, of a cluster with three faults."""
    world.populate(cluster)
    for fault in (FULL, FENCED):
        cluster.put(records.fault(fault.id), fault)
    connections.view().settle()
    return api(Role.OPERATOR)


def ids(client: APIClient, **parameters: Any) -> list[str]:
    answer = client.get("/api/v1/faults", parameters)
    assert answer.status_code == 200, answer.content
    return [fault["id"] for fault in answer.json()]


def test_a_fault_in_full(client: APIClient) -> None:
    assert client.get(f"/api/v1/faults/{world.FAULT.id}").json() == [
        {
            "id": world.FAULT.id,
            "first_reported": "2023-12-01 16:47:59.849742",
            "last_reported": "2023-12-01 17:39:45.188398",
            "acknowledged_at": "",
            "status": "new",
            "health_delta": 10,
            "message": "VM db: no disk",
            "node": "",
            "over": False,
        }
    ]
    seen = client.get(f"/api/v1/faults/{FENCED.id}").json()[0]
    assert (seen["status"], seen["acknowledged_at"]) == ("ack", "2023-12-06 22:01:00.500000")


def test_faults_are_sorted_and_filtered(client: APIClient) -> None:
    db, full, fenced = world.FAULT.id, FULL.id, FENCED.id
    assert ids(client) == [db, fenced, full]
    assert ids(client, sort_key="first_reported") == [full, db, fenced]
    assert ids(client, sort_key="health_delta")[-1] == fenced
    assert ids(client, sort_key="status")[0] == fenced
    assert ids(client, sort_key="message") == [db, full, fenced]
    assert ids(client, limit="fenced") == [fenced]
    assert ids(client, limit=f"^{db}$") == [db]
    answer = client.get("/api/v1/faults", {"sort_key": "node"})
    assert answer.status_code == 400
    assert "use one of first_reported, last_reported" in answer.json()["message"]


def test_what_a_plugin_finds_now_is_said_of_its_fault(client: APIClient) -> None:
    assert client.get(f"/api/v1/faults/{FULL.id}").json()[0]["message"] == "node1: plugin 'disk': nearly full"


def test_an_acknowledged_fault_lowers_the_health_no_more(client: APIClient, cluster: ClusterState) -> None:
    def healths() -> tuple[int, int]:
        status = client.get("/api/v1/status").json()
        assert client.get("/api/v1/node/node1").json()["health"] == status["node_health"]["node1"]["health"]
        return status["cluster_health"]["health"], status["node_health"]["node1"]["health"]

    whole, node = healths()
    cluster.put(records.fault(FULL.id), replace(FULL, status=FaultStatus.ACK))
    connections.view().settle()
    assert healths() == (whole + 10, node + 10)


def test_faults_are_acknowledged_and_deleted_one_or_all(client: APIClient, workers: Workers) -> None:
    workers.start("control")
    answer = client.put(f"/api/v1/faults/{FULL.id}")
    assert (answer.status_code, answer.json()["message"]) == (200, f"Fault {FULL.id} is acknowledged")
    assert client.get(f"/api/v1/faults/{FULL.id}").json()[0]["status"] == "ack"
    assert client.put("/api/v1/faults").status_code == 200
    assert {fault["status"] for fault in client.get("/api/v1/faults").json()} == {"ack"}
    assert client.delete(f"/api/v1/faults/{FULL.id}").status_code == 200
    assert client.get(f"/api/v1/faults/{FULL.id}").status_code == 404
    assert client.delete("/api/v1/faults").status_code == 200
    assert ids(client) == []
