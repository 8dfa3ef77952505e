"""Exports, imports and backups: what the commands ask of the API."""

from __future__ import annotations

import pytest

RESTORED = {"retain_snapshot": True, "force": False}


@pytest.mark.parametrize(
    ("arguments", "path", "body"),
    [
        (
            "vm snapshot export web s1 /b",
            "/vm/web/snapshot/export",
            {"snapshot_name": "s1", "export_path": "/b", "verify": False},
        ),
        (
            "vm snapshot export web s2 /b -i s1 --verify --node node2",
            "/vm/web/snapshot/export",
            {
                "snapshot_name": "s2",
                "export_path": "/b",
                "incremental_parent": "s1",
                "verify": True,
                "node": "node2",
            },
        ),
        (
            "vm snapshot import web s1 /b",
            "/vm/web/snapshot/import",
            {"snapshot_name": "s1", "import_path": "/b", **RESTORED},
        ),
        (
            "vm snapshot import web s1 /b -R -f --identity-file /root/key --node node2",
            "/vm/web/snapshot/import",
            {
                "snapshot_name": "s1",
                "import_path": "/b",
                "retain_snapshot": False,
                "force": True,
                "identity_file": "/root/key",
                "node": "node2",
            },
        ),
        ("vm backup create web /b", "/vm/web/backup", {"backup_path": "/b", "retain_snapshot": False}),
        (
            "vm backup create web /b -i 20260101000000 -r",
            "/vm/web/backup",
            {"backup_path": "/b", "incremental_parent": "20260101000000", "retain_snapshot": True},
        ),
        (
            "vm backup restore web 20260101000000 /b",
            "/vm/web/restore",
            {"backup_datestring": "20260101000000", "backup_path": "/b", **RESTORED},
        ),
    ],
)
def test_a_command_asks_for_what_it_says(pvc, api, arguments: str, path: str, body: dict[str, object]) -> None:
    api.accepts("POST", path)
    assert pvc(*arguments.split()).exit_code == 0
    [request] = api.writes()
    assert (request.method, request.path, request.body) == ("POST", path, body)


def test_a_backup_is_removed_by_its_name(pvc, api) -> None:
    api.accepts("DELETE", "/vm/web/backup")
    assert pvc("vm", "backup", "remove", "web", "20260101000000", "/b").exit_code == 0
    [request] = api.writes()
    assert request.query == {"backup_datestring": ["20260101000000"], "backup_path": ["/b"]}
