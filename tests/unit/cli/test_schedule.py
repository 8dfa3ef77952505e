"""``pvc schedule`` and ``pvc vm autobackup``: what they ask of the API, and what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

BACKUP = {
    "name": "nightly",
    "enabled": True,
    "when": "30 2 * * *",
    "last_run": 1700000000.0,
    "tags": ["kept"],
    "vms": ["db"],
    "mail": [],
    "errors_only": False,
    "web_hook": "",
    "target": "store",
    "keep": "last=3",
    "full_interval": 7,
    "compress": True,
    "recipients": [],
    "verify": True,
    "mount": [],
    "unmount": [],
    "test_when": "1d",
    "test_sign": "console",
    "test_argument": "login:",
    "test_timeout": 300,
    "test_pool": "",
    "identity_file": "",
}


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (
            ("backup", "add", "nightly", "-w", "1d", "-t", "/srv", "-g", "a", "-g", "b", "--verify", "-k", "last=3"),
            "POST",
            "/schedules/backup",
            {"name": "nightly", "when": "1d", "target": "/srv", "tags": ["a", "b"], "verify": True, "keep": "last=3"},
        ),
        (
            ("backup", "modify", "nightly", "--disabled", "--mail", "", "--mount", "/bin/mount -o a,b x"),
            "PUT",
            "/schedules/backup/nightly",
            {"enabled": False, "mail": [""], "mount": ["/bin/mount -o a,b x"]},
        ),
        (("mirror", "modify", "west", "--goal", "120"), "PUT", "/schedules/mirror/west", {"goal": 120}),
        (("backup", "remove", "nightly", "-y"), "DELETE", "/schedules/backup/nightly", None),
        (("target", "remove", "store", "-y"), "DELETE", "/schedules/target/store", None),
    ],
)
def test_only_what_was_given_is_sent(pvc, api, arguments, method: str, path: str, body) -> None:
    api.on(method, path, {"message": "done"})
    assert pvc("schedule", *arguments).exit_code == 0
    (request,) = api.writes()
    assert (request.method, request.path) == (method, path)
    assert {key: value for key, value in (request.body or {}).items() if value is not None} == (body or {})


def test_a_secret_is_read_from_a_file(pvc, api, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("zaq12wsx\n")
    api.on("POST", "/schedules/target", {"message": "done"})
    secret = f"secret_key=@{tmp_path}/key"
    pvc("schedule", "target", "add", "store", "-u", "s3://b", "-c", "access_key=AK", "-c", secret)
    assert api.writes()[0].body == {"name": "store", "uri": "s3://b", "access_key": "AK", "secret_key": "zaq12wsx"}


def test_a_schedule_is_shown_in_a_list_and_by_itself(pvc, api) -> None:
    api.on("GET", "/schedules/backup", [BACKUP])
    api.on("GET", "/schedules/backup/nightly", BACKUP)
    listed = pvc("schedule", "backup", "list").output
    assert "tag kept, db" in listed
    assert "console login:" in pvc("schedule", "backup", "info", "nightly").output
    assert pvc("schedule", "backup", "list", "-f", "raw").output == "nightly\n"


def test_cron_says_nothing_when_all_is_well(pvc, api) -> None:
    api.accepts("POST", "/vm/autobackup")
    result = pvc("vm", "autobackup", "--cron", "--force-full", "--email-report", "a@b.de", "-s", "nightly")
    assert (result.exit_code, result.output, result.stderr) == (0, "", "")
    assert api.writes()[0].body == {"email_recipients": "a@b.de", "schedule": ["nightly"], "force_full": True}
