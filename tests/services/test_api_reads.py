"""What the API shows: shapes, filters, pages, and how few queries that takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient

from pvc_core.errors import Conflict
from pvc_core.model.benchmark import BenchmarkResult
from pvc_core.model.storage import Osd
from pvc_core.model.task import Role
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from pvc_web.storage.documents import human_size
from pvc_web.storage.results import StoredBenchmarks
from tests.services import world

ANSWERS = (
    "/",
    "/status",
    "/status/primary_node",
    "/node",
    "/node/node1",
    "/node/node1/daemon-state",
    "/node/node1/coordinator-state",
    "/node/node1/domain-state",
    "/vm",
    "/vm/web",
    f"/vm/{world.DB}",
    "/vm/web/state",
    "/vm/web/node",
    "/vm/web/meta",
    "/vm/web/tags",
    "/network",
    "/network/100",
    "/storage/ceph/status",
    "/storage/ceph/utilization",
    "/storage/ceph/benchmark",
    "/storage/ceph/osd",
    "/storage/ceph/osd/7",
    "/storage/ceph/osd/7/state",
    "/storage/ceph/pool",
    "/storage/ceph/pool/vms",
    "/storage/ceph/volume",
    "/storage/ceph/volume/vms/web_disk0",
    "/storage/ceph/snapshot",
    "/storage/ceph/snapshot/vms/kept/first",
    "/faults",
    f"/faults/{world.FAULT.id}",
    "/tasks",
)


@pytest.fixture
def viewer(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    world.populate(cluster)
    cluster.transaction().create(records.volume("vms", "kept"), world.KEPT).commit()
    return api(Role.VIEWER)


def get(client: APIClient, path: str, **parameters: Any) -> Any:
    answer = client.get(f"/api/v1{path}", parameters)
    assert answer.status_code == 200, answer.content
    return answer.json()


def refused(client: APIClient, path: str, status: int, **parameters: Any) -> str:
    answer = client.get(f"/api/v1{path}", parameters)
    assert answer.status_code == status, answer.content
    assert set(answer.json()) == {"message", "code"}
    return answer.json()["message"]


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


def described(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The schema of the answer to a GET of ``path`` in the OpenAPI document."""
    for template, methods in document["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, f"/api/v1{path}"):
            schema = methods["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            return schema | {"components": document["components"]}
    raise AssertionError(f"{path} is not in the OpenAPI document")


def test_every_answer_has_the_described_shape(viewer: APIClient) -> None:
    document = viewer.get("/api/v1/schema", {"format": "json"}).json()
    for path in ANSWERS:
        Draft202012Validator(described(document, path)).validate(get(viewer, path))


def test_the_description_and_its_page_are_open_and_need_no_outside_network(
    api: Callable[[Role | None], APIClient], viewer: APIClient
) -> None:
    assert api(None).get("/api/v1/schema").status_code == 200
    page = api(None).get("/api/v1/docs").content.decode()
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page)
    parts = re.findall(r"""(?:src|href)=["'](/static/[^"']+)""", page)
    assert parts
    for part in parts:
        assert api(None).get(part).status_code == 200


def test_a_running_machine_in_full(viewer: APIClient) -> None:
    vm = get(viewer, "/vm/web")
    xml = vm.pop("xml")
    assert xml == world.RUNNING.xml
    assert vm == {
        "name": "web",
        "uuid": world.WEB,
        "state": "start",
        "node": "node1",
        "last_node": "node2",
        "migrated": "from node2",
        "failed_reason": "",
        "mirror": None,
        "node_limit": ["node1", "node2"],
        "node_selector": "mem",
        "node_autostart": True,
        "migration_method": "live",
        "migration_max_downtime": 500,
        "priority": 9,
        "affinity": ["db"],
        "anti_affinity": ["web"],
        "tags": [
            {"name": "production", "protected": False, "type": "user"},
            {"name": "kept", "protected": True, "type": "user"},
        ],
        "snapshots": [],
        "description": "a machine for tests",
        "profile": "small",
        "memory": 1024,
        "memory_stats": {"actual": 1048576, "rss": 500000},
        "vcpu": 2,
        "vcpu_topology": "1/2/1",
        "vcpu_stats": {"cpu_time": 30, "user_time": 20, "system_time": 10},
        "type": "kvm",
        "arch": "x86_64",
        "machine": "pc-i440fx-7.2",
        "console": "pty",
        "vnc": {"listen": "10.0.1.1", "port": "5901"},
        "emulator": "/usr/bin/kvm",
        "features": ["acpi", "apic"],
        "disks": [
            {
                "type": "rbd",
                "name": "vms/web_disk0",
                "dev": "sda",
                "bus": "scsi",
                "rd_req": 1,
                "rd_bytes": 2,
                "wr_req": 3,
                "wr_bytes": 4,
            }
        ],
        "networks": [
            {
                "type": "bridge",
                "vni": 100,
                "mac": world.WEB_MAC,
                "source": "vmbr100",
                "model": "virtio",
                "rd_bytes": 1,
                "rd_packets": 2,
                "rd_errors": 3,
                "rd_drops": 4,
                "wr_bytes": 5,
                "wr_packets": 6,
                "wr_errors": 7,
                "wr_drops": 8,
            }
        ],
        "controllers": [{"type": "scsi", "model": "virtio-scsi"}],
    }


def test_a_stopped_machine_has_no_console_and_no_counters(viewer: APIClient) -> None:
    vm = get(viewer, "/vm/db")
    assert vm["vnc"] == {"listen": "None", "port": "None"}
    assert (vm["migrated"], vm["memory_stats"], vm["vcpu_stats"]) == ("no", {}, {})
    assert vm["disks"][0]["rd_bytes"] == 0


def test_one_unreadable_machine_does_not_hide_the_others(viewer: APIClient, cluster: ClusterState) -> None:
    broken = world.many(1)[0]
    world.add_machine(cluster, broken)
    entry = cluster.get(world.records.vm_xml(broken.vm.uuid))
    cluster.transaction().update(entry, "<domain").commit()
    connections.view().settle()
    assert names(get(viewer, "/vm")) == ["db", "many0", "web"]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, ["db", "web"]),
        ({"limit": "e"}, ["db", "web"]),  # the name web, and the tag test
        ({"limit": "^w"}, ["web"]),
        ({"limit": "product"}, ["web"]),
        ({"limit": "^w$"}, []),
        ({"limit": world.DB}, ["db"]),
        ({"limit": ""}, ["db", "web"]),
        ({"node": "node1"}, ["web"]),
        ({"node": "node1", "negate": "true"}, ["db"]),
        ({"state": "stop"}, ["db"]),
        ({"state": "stop", "negate": "yes"}, ["web"]),
        ({"state": "migrate"}, []),
        ({"tag": "production"}, ["web"]),
        ({"tag": "production", "negate": "1"}, ["db"]),
        ({"tag": "prod"}, []),
        ({"tag": "production", "node": "node2"}, []),
        ({"mirror": "true"}, []),
    ],
)
def test_machines_are_filtered(viewer: APIClient, parameters: dict[str, str], expected: list[str]) -> None:
    assert names(get(viewer, "/vm", **parameters)) == expected


@pytest.mark.parametrize("path", ["/vm", "/node", "/network", "/storage/ceph/pool", "/storage/ceph/volume", "/faults"])
def test_a_filter_that_is_no_regular_expression_is_refused(viewer: APIClient, path: str) -> None:
    assert "limit: '(' is not a regular expression" in refused(viewer, path, 400, limit="(")


def test_bad_filters_say_what_they_may_be(viewer: APIClient) -> None:
    assert "use one of start, shutdown" in refused(viewer, "/vm", 400, state="running")
    assert "negate: 'perhaps'" in refused(viewer, "/vm", 400, negate="perhaps")
    assert "'node9'" in refused(viewer, "/vm", 404, node="node9")
    assert "'nopool'" in refused(viewer, "/storage/ceph/volume", 404, pool="nopool")
    assert "offset" in refused(viewer, "/vm", 400, offset="-1")
    assert "page_size" in refused(viewer, "/vm", 400, page_size="none")


def test_lists_come_in_pages_with_the_total_in_a_header(viewer: APIClient) -> None:
    answer = viewer.get("/api/v1/vm", {"offset": 1, "page_size": 1})
    assert (names(answer.json()), answer["X-Total-Count"]) == (["web"], "2")
    assert viewer.get("/api/v1/vm", {"offset": 5})["X-Total-Count"] == "2"


def test_nodes_are_filtered_by_their_states(viewer: APIClient) -> None:
    assert names(get(viewer, "/node", coordinator_state="primary")) == ["node1"]
    assert names(get(viewer, "/node", daemon_state="run", domain_state="ready")) == ["node1", "node2"]
    assert names(get(viewer, "/node", limit="2$")) == ["node2"]
    assert "use one of primary" in refused(viewer, "/node", 400, coordinator_state="router")


def test_a_node_with_what_its_machines_take(viewer: APIClient) -> None:
    node = get(viewer, "/node/node1")
    assert (node["daemon_state"], node["coordinator_state"], node["domain_state"]) == ("run", "primary", "ready")
    assert (node["domains_count"], node["running_domains"]) == (1, world.WEB)
    assert node["vcpu"] == {"total": 8, "allocated": 2}
    assert node["memory"] == {"total": 16000, "allocated": 1024, "provisioned": 1024, "used": 4000, "free": 12000}
    assert (node["health"], node["health_plugins"]) == (90, ["load", "disk"])
    assert node["health_details"][1]["health_delta"] == 10
    assert node["interfaces"]["eth0"]["speed_mbps"] == 10000


def test_status_adds_up(viewer: APIClient) -> None:
    status = get(viewer, "/status")
    assert status["maintenance"] == "false"
    assert status["primary_node"] == "node1"
    assert status["nodes"] == {"total": 2, "run,ready": 2}
    assert status["vms"] == {"total": 2, "start": 1, "stop": 1}
    assert status["osds"] == {"total": 3, "up,in": 3}
    assert (status["networks"], status["pools"], status["volumes"]) == (1, 1, 3)
    assert status["resources"]["memory"] == {
        "total": 32000,
        "used": 8000,
        "free": 24000,
        "allocated": 1024,
        "provisioned": 3072,
        "utilization": 25.0,
    }
    assert status["resources"]["vcpu"]["allocated"] == 2
    assert status["resources"]["disk"] == {"total": 3000, "used": 600, "free": 2400, "utilization": 20.0}
    assert set(status["node_health"]) == {"node1", "node2"}
    assert status["n_minus_1"] == {"survives": False, "nodes": {"node1": ["web"]}}


def test_what_the_cluster_could_lose_is_null_until_it_is_known(viewer: APIClient, cluster: ClusterState) -> None:
    cluster.transaction().delete(cluster.get(world.records.CAPACITY)).commit()
    connections.view().settle()
    assert get(viewer, "/status")["n_minus_1"] is None


def test_metadata(viewer: APIClient) -> None:
    assert get(viewer, "/vm/web/meta") == {
        "name": "web",
        "node_limit": ["node1", "node2"],
        "node_selector": "mem",
        "node_autostart": "True",
        "migration_method": "live",
        "migration_max_downtime": 500,
        "priority": 9,
        "affinity": ["db"],
        "anti_affinity": ["web"],
    }


def test_without_a_primary_there_is_no_content(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> None:
    answer = api(Role.VIEWER).get("/api/v1/status/primary_node")
    assert (answer.status_code, answer.content) == (204, b"")


def test_snapshots_of_volumes_are_found_by_name_pool_and_volume(viewer: APIClient) -> None:
    (found,) = get(viewer, "/storage/ceph/snapshot", limit="^fir", pool="vms", volume="kept")
    assert found == {
        "pool": "vms",
        "volume": "kept",
        "snapshot": "first",
        "size": "2048M",
        "timestamp": "2023-11-14T22:13:20Z",
        "protected": True,
        "vm": "",
    }
    assert get(viewer, "/storage/ceph/snapshot", limit="second") == []
    assert get(viewer, "/storage/ceph/snapshot", volume="db_disk0") == []
    assert "'nopool'" in refused(viewer, "/storage/ceph/snapshot", 404, pool="nopool")


def test_the_size_of_a_volume_is_for_people(viewer: APIClient) -> None:
    stats = get(viewer, "/storage/ceph/volume/vms/web_disk0")["stats"]
    assert (stats["size"], stats["objects"], stats["object_size"]) == ("4096M", 1024, 4194304)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (9999, "9999B"), (10000, "10K"), (4 << 30, "4096M"), (10 << 30, "10G"), ((10 << 30) + 1, "11G")],
)
def test_sizes_take_the_smallest_unit_of_four_digits_rounded_up(size: int, text: str) -> None:
    assert human_size(size) == text


def test_a_bridged_network_has_the_keys_of_a_managed_one(viewer: APIClient) -> None:
    network = get(viewer, "/network/100")
    assert (network["vni"], network["type"], network["mtu"]) == (100, "bridged", None)
    assert network["ip4"]["dhcp_flag"] is False
    assert [entry["vni"] for entry in get(viewer, "/network", limit="office")] == [100]


@pytest.mark.parametrize(
    "path",
    [
        "/node/node9",
        "/node/node9/log",
        "/vm/nobody",
        "/vm/nobody/state",
        "/vm/nobody/console",
        "/network/9",
        "/network/nine",
        "/faults/nothing",
        "/storage/ceph/pool/nopool",
        "/storage/ceph/volume/vms/novolume",
        "/storage/ceph/volume/nopool/web_disk0",
        "/storage/ceph/snapshot/vms/kept/nosnapshot",
        "/storage/ceph/snapshot/vms/novolume/first",
        "/nothing/here",
    ],
)
def test_what_is_not_there_is_named(viewer: APIClient, path: str) -> None:
    assert refused(viewer, path, 404)


def test_what_another_process_has_just_created_is_found(viewer: APIClient, cluster: ClusterState) -> None:
    world.add_machine(cluster, world.many(1)[0])
    assert get(viewer, "/vm/many0")["name"] == "many0"


IN_POSTGRESQL = {"/tasks": 3, "/storage/ceph/benchmark": 1}  # queries that these make


def test_the_number_of_queries_does_not_grow_with_the_cluster(viewer: APIClient, cluster: ClusterState) -> None:
    for machine in world.many(50):
        world.add_machine(cluster, machine)
    connections.view().settle()
    get(viewer, "/")  # the token's last use is noted once a minute
    for path in ANSWERS:
        with CaptureQueriesContext(connection) as queries:
            get(viewer, path)
        assert len(queries) == 1 + IN_POSTGRESQL.get(path, 0), path  # the token, and what is not in the picture
    assert len(get(viewer, "/vm")) == 52


def test_an_osd_is_shown_as_documented(viewer: APIClient, cluster: ClusterState) -> None:
    cluster.transaction().create(records.osd(7), Osd(7, "node2", "/dev/sdb", "/dev/sdd2", 1 << 30, "1c2d")).commit()
    cluster.transaction().create(records.osd(8), Osd(8, "node1", "/dev/sdb")).commit()
    assert get(viewer, "/storage/ceph/osd/7") == {
        "id": "7",
        "device": "/dev/sdb",
        "db_device": "/dev/sdd2",
        "stats": {
            "uuid": "1c2d",
            "up": 1,
            "in": 1,
            "primary_affinity": 1.0,
            "weight": 0.5,
            "reweight": 1.0,
            "node": "node2",
            "used": "2048M",
            "avail": "6144M",
            "wr_ops": 12,
            "wr_data": 4096,
            "rd_ops": 0,
            "rd_data": 0,
            "state": "up,in",
            "kb": 8 << 20,
            "pgs": 32,
            "utilization": 25.0,
            "var": 1.1,
            "device_class": "ssd",
        },
    }
    assert [osd["id"] for osd in get(viewer, "/storage/ceph/osd")] == ["7", "8"]
    assert [osd["id"] for osd in get(viewer, "/storage/ceph/osd", limit="^8$")] == ["8"]
    assert get(viewer, "/storage/ceph/osd/7/state") == {"state": "up,in"}
    assert get(viewer, "/storage/ceph/osd/8/state") == {"state": "unknown"}
    assert "there is no OSD 9; there are 7, 8" in refused(viewer, "/storage/ceph/osd/9", 404)


def test_benchmarks_are_kept_and_found_by_name(viewer: APIClient) -> None:
    results = StoredBenchmarks()
    for job in ("old", "new"):
        results.add(job, BenchmarkResult("vms", "node1", 1.0, 1 << 30, 60))
    with pytest.raises(Conflict, match="there is a benchmark new already"):
        results.add("new", BenchmarkResult("vms", "node1", 1.0, 1 << 30, 60))
    assert (results.has("old"), results.has("x")) == (True, False)
    assert [row["job"] for row in get(viewer, "/storage/ceph/benchmark")] == ["new", "old"]
    (row,) = get(viewer, "/storage/ceph/benchmark", job="old")
    assert (row["test_format"], row["benchmark_result"]["pool"]) == (3, "vms")
    assert "there is no benchmark 'x'" in refused(viewer, "/storage/ceph/benchmark", 404, job="x")
