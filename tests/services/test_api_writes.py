"""From a request to a task and back: arguments, waiting, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_web.api import work
from pvc_web.tasks.models import Audit, Task
from tests.services import world
from tests.services.processes import Workers

ASYNC = {"HTTP_PREFER": "respond-async"}
NEW_XML = world.XML.format(name="new", uuid="", memory=512, mac="52:54:00:00:00:09").replace(
    "vms/new_disk0", "vms/free"
)


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState) -> APIClient:
    """An administrator's, of a populated cluster with a volume that no machine uses."""
    world.populate(cluster)
    cluster.transaction().create(records.volume("vms", "free"), world.volume("free")).commit()
    cluster.transaction().create(records.volume("vms", "kept"), world.KEPT).commit()
    return api(Role.ADMINISTRATOR)


def accepted(answer: HttpResponse, name: str) -> dict[str, Any]:
    """The arguments of the one task that there is, which this answer is about."""
    assert answer.status_code == 202, answer.content
    task = Task.objects.get()
    document = json.loads(answer.content)
    assert document.pop("message")
    assert document == {"task_id": str(task.id), "task_name": name, "run_on": task.run_on}
    assert task.operation == name
    return task.arguments


def refused(answer: HttpResponse, status: int) -> str:
    """The message of a refusal, after which nothing was accepted."""
    assert answer.status_code == status, answer.content
    assert not Task.objects.exists()
    assert not Audit.objects.exists()
    return json.loads(answer.content)["message"]


# ("method", "path", arguments) -> (operation, its arguments)
CALLS: list[tuple[str, str, dict[str, Any], str, dict[str, Any]]] = [
    ("post", "/status", {"state": "true"}, "cluster.maintenance", {"enabled": True}),
    ("post", "/node/node2/domain-state", {"action": "flush"}, "node.flush", {"node": "node2"}),
    ("post", "/node/node2/domain-state", {"action": "ready"}, "node.ready", {"node": "node2", "stay": False}),
    (
        "post",
        "/node/node2/domain-state",
        {"action": "ready", "stay": "yes"},
        "node.ready",
        {"node": "node2", "stay": True},
    ),
    ("post", "/node/node2/coordinator-state", {"action": "primary"}, "node.primary", {"node": "node2"}),
    ("put", "/vm/web", {"xml": world.RUNNING.xml, "restart": "yes"}, "vm.modify", {"vm": world.WEB, "restart": True}),
    ("delete", "/vm/db", {}, "vm.undefine", {"vm": world.DB}),
    ("delete", "/vm/db", {"delete_disks": "true"}, "vm.remove", {"vm": world.DB}),
    ("post", f"/vm/{world.DB}/state", {"state": "start"}, "vm.start", {"vm": world.DB}),
    ("post", "/vm/web/state", {"state": "stop"}, "vm.stop", {"vm": world.WEB}),
    ("post", "/vm/web/state", {"state": "shutdown"}, "vm.shutdown", {"vm": world.WEB}),
    ("post", "/vm/web/state", {"state": "restart"}, "vm.restart", {"vm": world.WEB}),
    ("post", "/vm/web/state", {"state": "disable", "force": "1"}, "vm.disable", {"vm": world.WEB, "force": True}),
    (
        "post",
        "/vm/web/node",
        {"action": "migrate", "node": "node2", "force": "true", "force_live": "true"},
        "vm.migrate",
        {"vm": world.WEB, "node": "node2", "force": True, "force_live": True},
    ),
    ("post", "/vm/web/node", {"action": "unmigrate"}, "vm.unmigrate", {"vm": world.WEB, "force_live": False}),
    ("post", "/vm/web/node", {"action": "move", "node": "node2"}, "vm.move", {"vm": world.WEB, "node": "node2"}),
    (
        "post",
        "/vm/web/meta",
        {"limit": "node1,node2", "selector": "vcpus", "autostart": "no", "migration_max_downtime": 100},
        "vm.meta",
        {
            "vm": world.WEB,
            "node_limit": ["node1", "node2"],
            "node_selector": "vcpus",
            "node_autostart": False,
            "migration_method": None,
            "migration_max_downtime": 100,
            "profile": None,
            "priority": None,
            "affinity": None,
            "anti_affinity": None,
        },
    ),
    (
        "post",
        "/vm/web/meta",
        {"priority": "100", "affinity": "db,cache", "anti_affinity": ""},
        "vm.meta",
        {"priority": 100, "affinity": ["db", "cache"], "anti_affinity": []},
    ),
    (
        "post",
        "/vm",
        {"xml": NEW_XML, "priority": 7, "affinity": ["db"], "anti_affinity": "web"},
        "vm.define",
        {"priority": 7, "affinity": ["db"], "anti_affinity": ["web"]},
    ),
    ("post", "/vm/web/meta", {"limit": "", "profile": ""}, "vm.meta", {"node_limit": [], "profile": ""}),
    (
        "post",
        "/vm/web/tags",
        {"action": "add", "tag": "blue", "protected": "true"},
        "vm.tag",
        {"vm": world.WEB, "action": "add", "tag": "blue", "protected": True},
    ),
    ("post", "/vm/db/rename", {"new_name": "database"}, "vm.rename", {"vm": world.DB, "new_name": "database"}),
    (
        "post",
        "/vm/web/device",
        {"xml": '<interface type="bridge"><source bridge="vmbr100"/></interface>'},
        "vm.attach",
        {"vm": world.WEB},
    ),
    ("post", "/vm/db/locks", {}, "vm.flush_locks", {"vm": world.DB}),
    (
        "post",
        "/network",
        {"vni": "200", "description": "lab", "nettype": "bridged", "mtu": "9000"},
        "network.create",
        {"vni": 200, "description": "lab", "type": "bridged", "mtu": 9000},
    ),
    (
        "post",
        "/network/200",
        {"description": "lab", "nettype": "bridged"},
        "network.create",
        {"vni": 200, "description": "lab", "type": "bridged", "mtu": None},
    ),
    ("put", "/network/100", {"description": "new"}, "network.modify", {"vni": 100, "description": "new", "mtu": None}),
    ("put", f"/faults/{world.FAULT.id}", {}, "fault.acknowledge", {"fault": world.FAULT.id}),
    ("delete", f"/faults/{world.FAULT.id}", {}, "fault.delete", {"fault": world.FAULT.id}),
    ("put", "/faults", {}, "fault.acknowledge", {"fault": ""}),
    ("delete", "/faults", {}, "fault.delete", {"fault": ""}),
    (
        "post",
        "/storage/ceph/osd",
        {"node": "node1", "device": "/dev/sdb", "weight": "0.5", "ext_db_size": "20G", "osd_count": "2"},
        "osd.add",
        {"node": "node1", "weight": 0.5, "count": 2, "db_ratio": 0.0, "db_size": 20 * world.GIB},
    ),
    (
        "post",
        "/storage/ceph/osd/7",
        {"new_device": "detect:INTEL:800GB:0", "force": "true"},
        "osd.replace",
        {"osd": 7, "device": "detect:INTEL:800GB:0", "old_device": "", "weight": None, "force": True},
    ),
    ("put", "/storage/ceph/osd/7", {"device": "/dev/sdc"}, "osd.refresh", {"osd": 7, "device": "/dev/sdc"}),
    ("delete", "/storage/ceph/osd/7", {"yes-i-really-mean-it": "yes", "force": "1"}, "osd.remove", {"force": True}),
    ("post", "/storage/ceph/osd/7/state", {"state": "out", "force": "1"}, "osd.set_state", {"osd": 7, "state": "out"}),
    ("post", "/storage/ceph/osddb", {"node": "node2", "device": "/dev/sdd"}, "osd.create_db_group", {"node": "node2"}),
    ("post", "/storage/ceph/option", {"option": "noout", "action": "unset"}, "osd.set_flag", {"on": False}),
    ("post", "/storage/ceph/benchmark", {"pool": "vms", "name": "x"}, "storage.benchmark", {"pool": "vms", "job": "x"}),
    (
        "post",
        "/storage/ceph/pool",
        {"pool": "fast", "pgs": "64", "replcfg": "copies=3,mincopies=2", "tier": "nvme"},
        "pool.create",
        {"name": "fast", "pgs": 64, "replicas": 3, "min_replicas": 2, "tier": "nvme"},
    ),
    (
        "post",
        "/storage/ceph/pool/fast",
        {"pgs": "64", "replcfg": "copies=3,mincopies=2"},
        "pool.create",
        {"name": "fast", "tier": "default"},
    ),
    ("put", "/storage/ceph/pool/vms", {"pgs": "64"}, "pool.set_pgs", {"name": "vms", "pgs": 64}),
    (
        "post",
        "/storage/ceph/volume",
        {"pool": "vms", "volume": "disk", "size": "1M"},
        "volume.create",
        {"pool": "vms", "name": "disk", "size": 1 << 20, "force": False},
    ),
    (
        "post",
        "/storage/ceph/volume/vms/disk",
        {"size": "2048", "force": "true"},
        "volume.create",
        {"pool": "vms", "name": "disk", "size": 2048, "force": True},
    ),
    (
        "put",
        "/storage/ceph/volume/vms/free",
        {"new_size": "5G", "force": "true"},
        "volume.resize",
        {"name": "free", "size": 5 * world.GIB},
    ),
    ("put", "/storage/ceph/volume/vms/free", {"new_name": "f2"}, "volume.rename", {"name": "free", "new_name": "f2"}),
    ("delete", "/storage/ceph/volume/vms/free", {}, "volume.remove", {"pool": "vms", "name": "free"}),
    (
        "post",
        "/storage/ceph/volume/vms/free/clone",
        {"new_volume": "copy", "force": "true"},
        "volume.clone",
        {"name": "free", "new_name": "copy", "force": True},
    ),
    (
        "put",
        "/storage/ceph/pool/vms",
        {"replcfg": "copies=2,mincopies=1"},
        "pool.set_replication",
        {"name": "vms", "replicas": 2, "min_replicas": 1},
    ),
    (
        "post",
        "/storage/ceph/snapshot",
        {"pool": "vms", "volume": "free", "snapshot": "s", "force": "true"},
        "volume.snapshot.create",
        {"pool": "vms", "name": "free", "snapshot": "s", "force": True},
    ),
    ("post", "/storage/ceph/snapshot/vms/free/s", {}, "volume.snapshot.create", {"snapshot": "s", "force": False}),
    (
        "put",
        "/storage/ceph/snapshot/vms/kept/first",
        {"new_name": "s"},
        "volume.snapshot.rename",
        {"name": "kept", "snapshot": "first", "new_name": "s"},
    ),
    (
        "put",
        "/storage/ceph/snapshot/vms/kept/first",
        {"protected": "false"},
        "volume.snapshot.protect",
        {"snapshot": "first", "protected": False},
    ),
    ("post", "/storage/ceph/volume/vms/free/scan", {}, "volume.scan", {"pool": "vms", "name": "free"}),
]


@pytest.mark.parametrize(("method", "path", "given", "name", "arguments"), CALLS, ids=lambda value: str(value)[:40])
def test_each_call_sends_its_operation(
    client: APIClient, method: str, path: str, given: dict[str, Any], name: str, arguments: dict[str, Any]
) -> None:
    sent = accepted(getattr(client, method)(f"/api/v1{path}", given, format="json", **ASYNC), name)
    assert {key: sent[key] for key in arguments} == arguments


@pytest.mark.parametrize("way", ["query", "form", "multipart", "json"])
def test_arguments_come_by_query_form_or_json(client: APIClient, way: str) -> None:
    given = {"xml": NEW_XML, "limit": "node1,node2", "user_tags": ["a", "b"], "autostart": "true", "selector": "mem"}
    if way == "query":
        answer = client.post("/api/v1/vm", QUERY_STRING=_encoded(given), **ASYNC)
    elif way == "form":
        answer = client.post("/api/v1/vm", _encoded(given), content_type="application/x-www-form-urlencoded", **ASYNC)
    else:
        answer = client.post("/api/v1/vm", given, format=way, **ASYNC)
    arguments = accepted(answer, "vm.define")
    assert arguments["node_limit"] == ["node1", "node2"]
    assert arguments["user_tags"] == ["a", "b"]
    assert arguments["node_autostart"] is True
    assert arguments["node_selector"] == "mem"
    assert arguments["migration_max_downtime"] == 300


def _encoded(given: dict[str, Any]) -> str:
    return urlencode(given, doseq=True)


def test_the_body_wins_over_the_query(client: APIClient) -> None:
    answer = client.post("/api/v1/vm/db/rename?new_name=query", {"new_name": "body"}, format="json", **ASYNC)
    assert accepted(answer, "vm.rename")["new_name"] == "body"


@pytest.mark.parametrize("size", ["1x", "G", "-1", "0", "1GG", "1e3", "", "2000000T", "1 000", "½"])
def test_what_is_no_size_is_refused_with_what_would_be_one(client: APIClient, size: str) -> None:
    message = refused(client.post("/api/v1/storage/ceph/volume/vms/disk", {"size": size}), 400)
    assert message.startswith("size: ")


@pytest.mark.parametrize(
    ("size", "expected"),
    [("4096", 4096), ("1k", 1024), ("1K", 1024), ("1.5M", 1572864), ("2g", 2 * world.GIB)],
)
def test_sizes_are_bytes_or_have_a_suffix(client: APIClient, size: str, expected: int) -> None:
    answer = client.post("/api/v1/storage/ceph/volume/vms/disk", {"size": size}, **ASYNC)
    assert accepted(answer, "volume.create")["size"] == expected


BAD: list[tuple[str, str, dict[str, Any], str]] = [
    ("post", "/status", {}, "state: "),
    ("post", "/status", {"state": "perhaps"}, "neither yes nor no"),
    ("post", "/vm", {}, "xml: "),
    ("post", "/vm", {"xml": "<domain"}, "not well formed"),
    ("post", "/vm", {"xml": NEW_XML, "selector": "best"}, "use one of none, mem"),
    ("post", "/vm", {"xml": NEW_XML, "migration_max_downtime": "long"}, "migration_max_downtime: "),
    ("post", "/vm", {"xml": NEW_XML, "priority": "101"}, "priority: "),
    ("post", "/vm", {"xml": NEW_XML, "affinity": "a,b c"}, "'b c' cannot be the name of a tag"),
    ("post", "/vm/web/meta", {"priority": "-1"}, "priority: "),
    ("post", "/vm/web/meta", {"anti_affinity": "db"}, "the tag db cannot be in both affinity and anti_affinity"),
    ("post", "/vm", {"xml": NEW_XML.replace("vms/free", "vms/nothing")}, "vms/nothing"),
    ("post", "/vm", {"xml": NEW_XML.replace("vmbr100", "vmbr999")}, "999"),
    ("post", "/vm/web/state", {"state": "sleep"}, "use one of start, shutdown, stop, restart, disable"),
    ("post", "/vm/web/node", {"action": "fly"}, "use one of migrate, unmigrate, move"),
    ("post", "/vm/web/tags", {"action": "add"}, "tag: "),
    ("post", "/vm/web/device", {"xml": "<disk"}, "not well formed"),
    ("post", "/node/node1/domain-state", {"action": "sleep"}, "use one of flush, ready"),
    ("post", "/node/node1/coordinator-state", {"action": "hypervisor"}, "use one of primary, secondary"),
    ("post", "/network", {"vni": "x", "description": "d", "nettype": "bridged"}, "vni: "),
    ("post", "/network/x", {"description": "d", "nettype": "bridged"}, "vni: "),
    ("post", "/network", {"vni": "5", "description": "d", "nettype": "managed"}, "not available yet"),
    ("post", "/storage/ceph/pool", {"pool": "p", "pgs": "8", "replcfg": "3"}, "copies=3,mincopies=2"),
    ("delete", "/storage/ceph/pool/vms", {}, "yes-i-really-mean-it: "),
    ("delete", "/storage/ceph/osd/7", {}, "yes-i-really-mean-it: "),
    ("post", "/storage/ceph/option", {"option": "noway", "action": "set"}, "'noway' is no option of OSDs"),
    ("put", "/storage/ceph/volume/vms/free", {"new_size": "1G"}, "only grow"),
    ("put", "/storage/ceph/pool/vms", {}, "either pgs or replcfg"),
    ("put", "/storage/ceph/snapshot/vms/kept/first", {}, "either new_name or protected"),
    ("put", "/storage/ceph/volume/vms/free", {}, "either new_size or new_name"),
    ("put", "/storage/ceph/volume/vms/free", {"new_size": "8G", "new_name": "x"}, "either new_size or new_name"),
]


@pytest.mark.parametrize(("method", "path", "given", "message"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_argument_is_named_with_what_it_may_be(
    client: APIClient, method: str, path: str, given: dict[str, Any], message: str
) -> None:
    assert message in refused(getattr(client, method)(f"/api/v1{path}", given, format="json"), 400)


@pytest.mark.parametrize("body", ["{no json", "[1, 2]", '"text"', "7"])
def test_a_body_that_is_no_json_object_is_refused(client: APIClient, body: str) -> None:
    message = refused(client.post("/api/v1/vm/web/state", body, content_type="application/json"), 400)
    assert "JSON" in message


def test_a_body_that_is_too_large_is_refused(client: APIClient) -> None:
    message = refused(client.post("/api/v1/vm", {"xml": "x" * 5_000_000}, format="json"), 400)
    assert "may have 4194304" in message


def test_what_contradicts_the_state_is_a_conflict(client: APIClient) -> None:
    taken = NEW_XML.replace("<name>new</name>", "<name>web</name>")
    assert "web" in refused(client.post("/api/v1/vm", {"xml": taken}), 409)
    assert refused(client.delete("/api/v1/network/100"), 409)


def test_work_on_what_is_not_there_is_refused(client: APIClient) -> None:
    assert "'nobody'" in refused(client.post("/api/v1/vm/nobody/state", {"state": "start"}), 404)
    assert "'node9'" in refused(client.post("/api/v1/node/node9/domain-state", {"action": "flush"}), 404)
    assert "node9" in refused(client.post("/api/v1/vm/web/node", {"action": "move", "node": "node9"}), 404)
    assert "'gone'" in refused(client.put("/api/v1/faults/gone"), 404)
    assert "'gone'" in refused(client.delete("/api/v1/faults/gone"), 404)


def test_a_second_operation_on_the_same_machine_is_refused_with_the_first_ones_name(client: APIClient) -> None:
    client.post("/api/v1/vm/web/tags", {"action": "add", "tag": "one"}, **ASYNC)
    first = Task.objects.get()
    answer = client.post("/api/v1/vm/web/tags", {"action": "add", "tag": "two"}, **ASYNC)
    assert (answer.status_code, answer.json()["code"]) == (409, "busy")
    assert str(first.id) in answer.json()["message"]
    assert Task.objects.count() == 1


def test_a_state_is_answered_at_once_with_its_task(client: APIClient) -> None:
    answer = client.post("/api/v1/vm/web/state", {"state": "stop"})
    assert answer.status_code == 200
    assert answer.json()["task_id"] == str(Task.objects.get().id)


def test_what_is_documented_as_accepted_is_answered_so_without_asking(client: APIClient) -> None:
    accepted(client.post("/api/v1/vm/db/locks"), "vm.flush_locks")


def test_an_outcome_that_takes_too_long_is_answered_with_the_task(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "WAIT_LIMIT", 0.1)
    accepted(client.post("/api/v1/vm/web/tags", {"action": "add", "tag": "slow"}), "vm.tag")


def test_a_write_that_waits_answers_with_its_outcome_and_the_next_read_shows_it(
    client: APIClient, workers: Workers
) -> None:
    workers.start("control")
    answer = client.post("/api/v1/vm", {"xml": NEW_XML, "user_tags": "a,b"})
    assert answer.status_code == 200, answer.content
    assert set(answer.json()) == {"message", "task_id", "task_name", "run_on"}
    assert "new" in answer.json()["message"]
    assert client.get("/api/v1/vm/new").json()["tags"][0]["name"] == "a"

    assert client.post("/api/v1/vm/new/rename", {"new_name": "newer"}).status_code == 200
    assert client.get("/api/v1/vm/newer").status_code == 200
    assert client.get("/api/v1/vm/new").status_code == 404

    assert client.post("/api/v1/vm/db/state", {"state": "stop", "wait": "true"}).status_code == 200
    audit = Audit.objects.get(action="vm.define")
    assert (audit.user, audit.origin) == ("administrator", "127.0.0.1")


def test_a_write_that_waits_answers_with_its_error(client: APIClient, workers: Workers) -> None:
    """The worker's storage does not know the pool that the record names."""
    workers.start("control")
    answer = client.post("/api/v1/storage/ceph/volume/vms/disk", {"size": "1G"})
    task = Task.objects.get()
    assert answer.status_code == task.error_status
    assert answer.json() == {
        "message": task.message,
        "code": task.error_code,
        "task_id": str(task.id),
        "task_name": "volume.create",
        "run_on": "node1",
    }
    assert client.get("/api/v1/storage/ceph/volume/vms/disk").status_code == 404
