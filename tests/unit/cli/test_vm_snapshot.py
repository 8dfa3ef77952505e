"""``pvc vm snapshot`` and what it asks of the API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .documents import vm


def snapshot(**changes: Any) -> dict[str, Any]:
    return {
        "name": "before-upgrade",
        "timestamp": "1763900000",
        "age": "183845",
        "rbd_snapshots": ["vms/web_disk0@before-upgrade", "vms/web_data@before-upgrade"],
        "xml_diff_lines": ["--- current", "+++ before-upgrade", "@@ -3 +3 @@", "-<vcpu>4</vcpu>", "+<vcpu>2</vcpu>"],
        "size": 12 << 30,
        "quiesced": "guest",
        "purpose": "user",
        **changes,
    }


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        ("create web", "POST", "/vm/web/snapshot", {}),
        ("create web first", "POST", "/vm/web/snapshot", {"snapshot_name": "first"}),
        (
            "rollback web first -y",
            "POST",
            "/vm/web/snapshot/rollback",
            {"snapshot_name": "first", "keep_config": False},
        ),
        (
            "rollback web first -y --keep-config",
            "POST",
            "/vm/web/snapshot/rollback",
            {"snapshot_name": "first", "keep_config": True},
        ),
    ],
)
def test_what_is_sent(pvc, api, arguments: str, method: str, path: str, body: dict[str, Any]) -> None:
    api.accepts(method, path)
    assert pvc("vm", "snapshot", *arguments.split()).exit_code == 0
    (request,) = api.writes()
    assert (request.method, request.path, request.body) == (method, path, body)


def test_the_snapshot_to_remove_is_named_in_the_query(pvc, api) -> None:
    api.accepts("DELETE", "/vm/web/snapshot")
    assert pvc("vm", "snapshot", "remove", "web", "first", "-y").exit_code == 0
    (request,) = api.writes()
    assert request.query == {"snapshot_name": ["first"]}


def test_the_list_says_how_old_and_how_large_they_are(pvc, api) -> None:
    api.on("GET", "/vm/web/snapshot", [snapshot(), snapshot(name="old", quiesced="paused", xml_diff_lines=[])])
    lines = pvc("vm", "snapshot", "list", "web").output.splitlines()
    assert lines[1].split("  ")[0] == "before-upgrade"
    assert all(text in lines[1] for text in ("2 d 3 h", "12.0 GiB", "file systems frozen", "user"))
    assert lines[1].rstrip().endswith(" 2")
    assert "as after a loss of power" in lines[2]
    assert lines[2].rstrip().endswith(" 0")
    assert pvc("vm", "snapshot", "list", "web", "-f", "raw").output.split() == ["before-upgrade", "old"]
    assert len(json.loads(pvc("vm", "snapshot", "list", "web", "-f", "json").output)) == 2


def test_a_machine_is_shown_with_its_snapshots(pvc, api) -> None:
    api.on("GET", "/vm/web", vm(snapshots=[snapshot()]))
    assert "before-upgrade" in pvc("vm", "info", "web").output
    api.on("GET", "/vm/web", vm())
    assert "No snapshots." in pvc("vm", "info", "web").output
