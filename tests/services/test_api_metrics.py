"""Metrics: their names and labels, that they agree with the documents, who may read them, and the pass-throughs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, Promotion
from pvc_core.model.node import InterfaceStats
from pvc_core.model.storage import Osd
from pvc_core.model.task import Role, TaskState
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.accounts.models import Token, User
from pvc_web.config import cluster as connections
from pvc_web.metrics.vms import MEMORY
from pvc_web.schedules.models import BackupSchedule
from pvc_web.tasks.models import Task
from tests.services import world

NAMES = Path(__file__).with_name("metric_names.txt")
ENDED = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
CARD = InterfaceStats("up", 1000, 1, 2, 3, 4, rx_byte_rate=12_500_000.0, tx_byte_rate=25_000_000.0, tx_packet_rate=9.0)


@pytest.fixture
def state(cluster: ClusterState, database: None) -> ClusterState:
    """A cluster that has something of everything."""
    world.populate(cluster)
    transaction = cluster.transaction()
    stats = cluster.get(records.stats("node1"))
    counters = replace(world.COUNTERS, memory=dict.fromkeys(MEMORY, 1024) | {"last_update": 5})
    interfaces = {"bond0": CARD, "eth0": replace(CARD, bond="bond0"), "eth1": replace(CARD, state="down")}
    transaction.update(stats, replace(stats.value, domains={world.WEB: counters}, interfaces=interfaces))
    storage = cluster.get(records.STORAGE)
    transaction.update(storage, replace(storage.value, unsent={world.WEB: 4096}))
    lineage = Lineage((Promotion(1, "east", "", forced=False, time=0.0),))
    mirror = Mirror(world.WEB, "west", MirrorRole.PRIMARY, lineage, "", "s1", time.time() - 50, goal=120.0)
    transaction.create(records.mirror(world.WEB), mirror)
    transaction.create(records.osd(7), Osd(7, "node2", "/dev/sdb", "/dev/nvme0n1p1"))
    fence = Fence("node2", "boot", (), FenceStep.FAILED, 1.0, 2.0, "silent")
    transaction.create(records.fence("node2"), fence)
    transaction.commit()
    BackupSchedule.objects.create(name="nightly", when="1d", tags=["production", "test"], target="/srv/backups")
    BackupSchedule.objects.create(name="off", when="1d", tags=["production"], target="/srv/backups", enabled=False)
    connections.view().settle()
    return cluster


def get(path: str = "metrics", **headers: str) -> str:
    answer = APIClient().get(f"/api/v1/{path}", **headers)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return answer.content.decode()


def refused(path: str, status: int = 503, **headers: str) -> str:
    answer = APIClient(raise_request_exception=False).get(f"/api/v1/{path}", **headers)
    assert answer.status_code == status, answer.content
    return answer.json()["message"]


def families(text: str) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text)}


class Values:
    """The values of one scrape: by the name without its prefix, and the labels."""

    def __init__(self, text: str) -> None:
        samples = [sample for family in families(text).values() for sample in family.samples]
        self._values = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
        assert len(self._values) == len(samples), "a series is there twice"

    def __call__(self, name: str, **labels: str) -> float:
        return self._values[f"pvc_{name}", frozenset(labels.items())]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self._values if found == f"pvc_{name}"]


def test_the_names_and_labels_are_those_of_the_table(state: ClusterState) -> None:
    table: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(pvc_\w+)(?:\{(.*)\})?$", NAMES.read_text(), re.MULTILINE):
        table[name] = set(filter(None, labels.split(",")))
    assert len(table) > 130
    Task.objects.create(operation="vm.start", lane="control")
    found = families(get())
    assert {name: {frozenset(sample.labels) for sample in found[name].samples} for name in found} == {
        name: {frozenset(labels)} for name, labels in table.items()
    }
    assert {family.type for family in found.values()} == {"gauge"}
    assert all(family.documentation for family in found.values())


def test_health_and_resources_are_the_two_parts_of_all(state: ClusterState) -> None:
    health, resource = families(get("metrics/health")), families(get("metrics/resource"))
    assert not health.keys() & resource.keys()
    assert families(get()).keys() == health.keys() | resource.keys()
    assert {"pvc_info", "pvc_cluster_disk_utilization", "pvc_tasks"} <= health.keys()
    assert {"pvc_node_host_cpus", "pvc_vm_uuid", "pvc_ceph_pool_pgs", "pvc_vm_mirror_role"} <= resource.keys()


def documents(client: APIClient, path: str) -> Any:
    return client.get(f"/api/v1/{path}").json()


def test_the_cluster_is_as_its_status_says(state: ClusterState, api: Callable[[Role], APIClient]) -> None:
    values, status = Values(get()), documents(api(Role.VIEWER), "status")
    labels = {"primary_node": "node1", "version": status["pvc_version"], "upstream_ip": status["upstream_ip"]}
    assert values("info", **labels) == 1
    assert (values("cluster_maintenance"), status["maintenance"]) == (0, "false")
    assert values("cluster_health") == status["cluster_health"]["health"]
    for node, health in status["node_health"].items():
        assert values("node_health", node=node) == health["health"]
    for name in ("nodes", "vms", "osds"):
        assert values(name) == status[name]["total"]
    for name in ("networks", "pools", "volumes", "snapshots"):
        assert values(name) == status[name]
    assert values("vm_states", state="start") == status["vms"]["start"] == 1
    assert values("vm_states", state="fail") == 0
    assert values("node_daemon_states", state="run") == values("node_domain_states", state="ready") == 2
    assert values("ceph_osd_up_states", state="up") == values("ceph_osd_in_states", state="in") == 3
    assert values("ceph_osd_up_states", state="down") == 0
    resources = status["resources"]
    memory = resources["memory"]
    assert values("cluster_cpu_utilization") == resources["vcpu"]["utilization"] == 12.5
    assert values("cluster_disk_utilization") == resources["disk"]["utilization"] == 20
    assert values("cluster_memory_real_utilization") == memory["utilization"] == 25
    assert values("cluster_memory_allocated_utilization") == round(100 * memory["allocated"] / memory["total"], 2)
    assert values("cluster_memory_provisioned_utilization") == round(100 * memory["provisioned"] / memory["total"], 2)
    assert values("cluster_survives_node_loss") == status["n_minus_1"]["survives"] is False
    assert values("node_loss_unplaced_vms", node="node1") == len(status["n_minus_1"]["nodes"]["node1"])
    assert values("node_loss_unplaced_vms", node="node2") == 0
    assert values("node_fence", node="node2", step="failed") == 1


def test_a_fault_is_one_until_its_cause_is_gone(state: ClusterState) -> None:
    labels = {"status": "new", "id": world.FAULT.id, "message": "VM db: no disk"}
    assert Values(get())("cluster_faults", **labels) == 1
    entry = state.get(records.fault(world.FAULT.id))
    state.transaction().update(entry, replace(entry.value, over=True)).commit()
    connections.view().settle()
    assert Values(get())("cluster_faults", **labels) == 0


def test_a_node_is_as_its_document_says(state: ClusterState, api: Callable[[Role], APIClient]) -> None:
    values, node = Values(get()), documents(api(Role.VIEWER), "node/node1")
    memory = node["memory"]
    of = {
        "host_cpus": node["vcpu"]["total"],
        "allocated_vcpus": node["vcpu"]["allocated"],
        "load_average": node["load"],
        "cpu_utilization": 12.5,
        "domains_count": node["domains_count"],
        "total_memory": memory["total"],
        "allocated_memory": memory["allocated"],
        "provisioned_memory": memory["provisioned"],
        "used_memory": memory["used"],
        "free_memory": memory["free"],
        "used_memory_utilization": 100 * memory["used"] / memory["total"],
        "allocated_memory_utilization": 6.4,
        "provisioned_memory_utilization": 6.4,
    }
    assert {name: values(f"node_{name}", node="node1") for name in of} == of
    assert values("node_kernel", node="node1", kernel=node["kernel"]) == 1
    assert values("node_architecture", node="node1", architecture=node["arch"]) == 1


def test_a_bonds_traffic_is_counted_once_and_links_that_are_down_carry_nothing(state: ClusterState) -> None:
    values = Values(get())
    assert values("node_network_traffic_rx", node="node1") == 2 * CARD.rx_byte_rate
    assert values("node_network_packets_tx", node="node1") == 18
    assert values("node_network_utilization", node="node1") == 20  # 200 of 1000 Mbit/s
    assert values("cluster_network_utilization") == pytest.approx(100 * 200 / 11_000, abs=0.01)


def test_a_machine_is_as_its_document_says(state: ClusterState, api: Callable[[Role], APIClient]) -> None:
    values, vm = Values(get()), documents(api(Role.VIEWER), "vm/web")
    facts = {
        "uuid": vm["uuid"],
        "description": vm["description"],
        "profile": vm["profile"],
        "state": vm["state"],
        "node_limit": ",".join(vm["node_limit"]),
        "node_selector": vm["node_selector"],
        "autostart": str(vm["node_autostart"]),
        "migration_method": vm["migration_method"],
        "machine_type": vm["machine"],
    }
    for name, text in facts.items():
        assert values(f"vm_{name}", vm="web", **{name: text}) == 1
    assert values("vm_active_node", vm="web", node=vm["node"]) == 1
    assert values("vm_migrated", vm="web", last_node=vm["last_node"]) == 1
    assert values("vm_failed_reason", vm="web", failed_reason="") == 0
    assert values("vm_vcpu_topology", vm="web", topology=vm["vcpu_topology"]) == 1
    assert values("vm_vnc_listen_port", vm="web", port=vm["vnc"]["port"]) == values("vm_serial_console", vm="web") == 1
    assert (values("vm_tags", vm="web"), values("vm_vcpus", vm="web")) == (len(vm["tags"]), vm["vcpu"])
    assert values("vm_memory", vm="web") == vm["memory"]
    for name, value in vm["vcpu_stats"].items():
        assert values(f"vm_vcpus_{name}", vm="web") == value
    for name in MEMORY:
        assert values(f"vm_memory_stats_{name}", vm="web") == vm["memory_stats"][name]
    (disk,), (card,) = vm["disks"], vm["networks"]
    for name in ("rd_req", "rd_bytes", "wr_req", "wr_bytes"):
        assert values(f"vm_disk_{name}", vm="web", disk=disk["name"]) == disk[name]
    for name in ("rd_packets", "rd_errors", "rd_drops", "wr_packets", "wr_errors", "wr_drops"):
        assert values(f"vm_network_{name}", vm="web", vni="100") == card[name]
    assert values("vm_network_wr_bits", vm="web", vni="100") == 8 * card["wr_bytes"]
    assert values("vm_network_macaddr", vm="web", vni="100", macaddr=card["mac"]) == 1


def test_a_stopped_machine_has_no_counters_and_no_console(state: ClusterState) -> None:
    values = Values(get())
    assert {"vm": "db"} not in values.labels("vm_memory_stats_rss")
    assert values("vm_vnc_console", vm="db") == values("vm_vnc_listen_port", vm="db", port="None") == 0


def test_two_cards_in_one_network_and_a_drive_without_medium_are_one_series_each(state: ClusterState) -> None:
    devices = f"""<interface type="bridge"><mac address="{world.DB_MAC}"/><source bridge="vmbr100"/></interface>
        <interface type="network"><source network="outside"/></interface>
        <disk type="file" device="cdrom"><target dev="sdb" bus="sata"/></disk></devices>"""
    entry = state.get(records.vm_xml(world.WEB))
    state.transaction().update(entry, entry.value.replace("</devices>", devices)).commit()
    counters = replace(world.COUNTERS, networks=dict.fromkeys((world.WEB_MAC, world.DB_MAC), world.NicStats(10)))
    stats = state.get(records.stats("node1"))
    state.transaction().update(stats, replace(stats.value, domains={world.WEB: counters})).commit()
    connections.view().settle()
    values = Values(get())
    assert values("vm_network_rd_bits", vm="web", vni="100") == 160
    assert values("vm_network_rd_bits", vm="web", vni="outside") == 0
    assert values("vm_disk_rd_req", vm="web", disk="sdb") == 0


def test_storage_is_as_its_documents_say(state: ClusterState, api: Callable[[Role], APIClient]) -> None:
    values, viewer = Values(get()), api(Role.VIEWER)
    osd, pool = documents(viewer, "storage/ceph/osd/7"), documents(viewer, "storage/ceph/pool/vms")
    stats = osd["stats"]
    of = {"util": "utilization", "var": "var", "pgs": "pgs", "size": "kb", "weight": "weight", "wr_data": "wr_data"}
    assert {name: values(f"ceph_osd_{name}", osd="7") for name in of} == {name: stats[key] for name, key in of.items()}
    assert values("ceph_osd_used", osd="7") == 2 << 20  # KiB
    assert values("ceph_osd_device", osd="7", device=osd["device"]) == 1
    assert values("ceph_pool_volumes", pool="vms") == pool["volume_count"]
    for name in ("stored_bytes", "free_bytes", "used_percent", "num_objects_degraded", "write_ops"):
        assert values(f"ceph_pool_{name}", pool="vms") == pool["stats"][name]


def test_a_mirror_tells_how_far_it_is_behind(state: ClusterState) -> None:
    values, tie = Values(get("metrics/resource")), {"vm": "web", "peer": "west"}
    assert 50 <= values("vm_mirror_lag_seconds", **tie) < 60
    assert (values("vm_mirror_lag_bytes", **tie), values("vm_mirror_goal_seconds", **tie)) == (4096, 120)
    assert values.labels("vm_mirror_role") == [{"vm": "web", "role": "primary"}]


def test_the_last_complete_backup_of_each_machine_by_each_schedule_that_is_on(state: ClusterState) -> None:
    last = datetime.now(UTC).replace(microsecond=0)
    for vm, schedule, ended, outcome in (
        (world.WEB, "nightly", last, TaskState.SUCCEEDED),
        (world.WEB, "nightly", ENDED, TaskState.SUCCEEDED),
        (world.WEB, "off", last, TaskState.SUCCEEDED),
        (world.DB, "nightly", last, TaskState.FAILED),
        ("gone", "nightly", last, TaskState.SUCCEEDED),
    ):
        arguments = {"vm": vm, "schedule": schedule, "snapshot": "s", "node": "node1", "full": False}
        Task.objects.create(
            operation="vm.autobackup.write", arguments=arguments, lane="bulk", state=outcome, ended=ended
        )
    values = Values(get("metrics/resource"))
    name = "vm_last_backup_timestamp_seconds"
    assert len(values.labels(name)) == 2
    assert values(name, vm="web", schedule="nightly") == last.timestamp()
    assert values(name, vm="db", schedule="nightly") == 0


def test_tasks_that_wait_run_or_have_failed_of_late(state: ClusterState) -> None:
    now = datetime.now(UTC)
    for outcome, ended in (("queued", None), ("running", None), ("running", None), ("failed", now), ("failed", ENDED)):
        Task.objects.create(operation="vm.start", lane="control", state=outcome, ended=ended)
    values = Values(get("metrics/health"))
    assert {each: values("tasks", state=each) for each in ("queued", "running", "failed")} == {
        "queued": 1,
        "running": 2,
        "failed": 1,
    }


def test_a_scrape_costs_three_queries(state: ClusterState) -> None:
    with CaptureQueriesContext(connection) as queries:
        get()
    assert len(queries) == 3


def test_what_the_database_does_not_know_is_told_while_it_is_down(
    state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    values = Values(get())
    assert (values("database_up"), values("vms")) == (0, 2)
    assert values.labels("tasks") == values.labels("vm_last_backup_timestamp_seconds") == []
    monkeypatch.undo()
    assert Values(get())("database_up") == 1


def closed() -> override_settings:
    return override_settings(PVC=replace(settings.PVC, api=replace(settings.PVC.api, open_metrics=False)))


@pytest.mark.parametrize("path", ["metrics", "metrics/health", "metrics/resource", "metrics/ceph", "metrics/zookeeper"])
def test_metrics_that_are_not_open_need_a_token(state: ClusterState, user: Callable[[Role], User], path: str) -> None:
    _, token = Token.objects.issue(user(Role.VIEWER), "prometheus")
    with closed():
        assert "credentials" in refused(path, 401)
        assert refused(path, 401, HTTP_AUTHORIZATION="Bearer wrong") == "the API key is wrong, expired or revoked"
        for headers in ({"HTTP_AUTHORIZATION": f"Bearer {token}"}, {"HTTP_X_API_KEY": str(token)}):
            assert APIClient().get(f"/api/v1/{path}", **headers).status_code in (200, 503)


def test_a_bearer_token_opens_nothing_but_metrics(state: ClusterState, user: Callable[[Role], User]) -> None:
    _, token = Token.objects.issue(user(Role.VIEWER), "prometheus")
    assert refused("vm", 401, HTTP_AUTHORIZATION=f"Bearer {token}")


@contextmanager
def exporter(body: bytes) -> Iterator[int]:
    """Something that serves its metrics at /metrics: its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def listen_at(state: ClusterState, url: str) -> None:
    entry = state.get(records.STORAGE)
    state.transaction().update(entry, replace(entry.value, metrics_url=url)).commit()
    connections.view().settle()


def test_cephs_metrics_are_those_of_its_active_manager(state: ClusterState) -> None:
    assert "ceph mgr module enable prometheus" in refused("metrics/ceph")
    with exporter(b"ceph_health_status 0.0\n") as port:
        listen_at(state, f"http://127.0.0.1:{port}/")
        assert get("metrics/ceph") == "ceph_health_status 0.0\n"
    assert "the metrics of Ceph's active manager cannot be read" in refused("metrics/ceph")


def test_zookeepers_metrics_are_what_it_monitors(state: ClusterState) -> None:
    found = families(get("metrics/zookeeper"))
    assert found["zk_znode_count"].samples[0].value > 10
    assert found["zk_server_state"].samples[0].labels == {"state": "standalone"}


def zookeeper(**changed: Any) -> override_settings:
    return override_settings(PVC=replace(settings.PVC, zookeeper=replace(settings.PVC.zookeeper, **changed)))


def test_zookeepers_own_metrics_for_prometheus_are_taken_where_it_serves_them(state: ClusterState) -> None:
    with exporter(b"znode_count 7.0\n") as port, zookeeper(metrics_port=port):
        assert get("metrics/zookeeper") == "znode_count 7.0\n"


def test_a_zookeeper_that_does_not_answer_is_named(state: ClusterState) -> None:
    with zookeeper(hosts=("127.0.0.1:1", *settings.PVC.zookeeper.hosts)):
        assert "zk_znode_count" in get("metrics/zookeeper")
    with zookeeper(hosts=("127.0.0.1:1",)):
        assert "no ZooKeeper server gives its metrics: 127.0.0.1:1: " in refused("metrics/zookeeper")
