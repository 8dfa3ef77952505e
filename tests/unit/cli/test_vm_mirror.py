"""``pvc vm mirror`` and what it asks of the API."""

from __future__ import annotations

from typing import Any

import pytest

from .documents import vm

URI = "https://west.example.com:7370/api/v1"


def mirror(**changes: Any) -> dict[str, Any]:
    return {
        "peer": "east",
        "role": "secondary",
        "epoch": 1,
        "forced": False,
        "snapshot": "mirror-20261122180000",
        "lag_seconds": 75.0,
        "lag_bytes": None,
        "goal": 120.0,
        "answered": 4000.0,
        "hindrance": "",
        **changes,
    }


@pytest.mark.parametrize(
    ("arguments", "action", "body"),
    [
        ("create web west", "create", {"peer": "west"}),
        (
            "create web west -p copies -g 120",
            "create",
            {"peer": "west", "destination_storage_pool": "copies", "goal": 120},
        ),
        (
            f"create web {URI} -k secret",
            "create",
            {"destination_api_uri": URI, "destination_api_key": "secret"},
        ),
        ("promote web -y", "promote", {}),
        ("promote web west -y --remove", "promote", {"peer": "west", "remove_on_source": True}),
        ("promote web -y --force", "promote", {"force": True}),
        ("resync web -y", "resync", {}),
        ("take-back web", "take-back", {}),
    ],
)
def test_what_is_sent(pvc, api, arguments: str, action: str, body: dict[str, Any]) -> None:
    api.on("GET", "/vm/web", vm(mirror=mirror()))
    api.accepts("POST", f"/vm/web/mirror/{action}")
    result = pvc("vm", "mirror", *arguments.split())
    assert result.exit_code == 0, result.output
    (request,) = api.writes()
    assert (request.path, request.body) == (f"/vm/web/mirror/{action}", body)


def test_the_tie_is_ended(pvc, api) -> None:
    api.accepts("DELETE", "/vm/web/mirror")
    assert pvc("vm", "mirror", "remove", "web", "-y").exit_code == 0
    assert len(api.writes()) == 1


def test_before_a_forced_promotion_the_age_of_the_copy_is_told(pvc, api) -> None:
    api.on("GET", "/vm/web", vm(mirror=mirror()))
    result = pvc("vm", "mirror", "promote", "web", "--force")
    assert result.exit_code == 1
    assert "Cluster east answered 1 h 6 min ago. The copy of web here is 1 min 15 s old" in result.output
    assert not api.writes()


@pytest.mark.parametrize("arguments", ["promote web west --force", "promote web --force --remove"])
def test_a_forced_promotion_is_of_the_copy_here(pvc, api, arguments: str) -> None:
    assert pvc("vm", "mirror", *arguments.split()).exit_code == 2
    assert not api.writes()


def test_the_list_has_the_machines_with_a_mirror(pvc, api) -> None:
    leads = mirror(role="primary", lag_bytes=5 << 20, answered=2.0)
    api.on("GET", "/vm", [vm(name="db", mirror=leads)])
    output = pvc("vm", "mirror", "list").output
    assert api.requests[0].query == {"mirror": ["true"]}
    for text in ("db", "primary", "east", "mirror-20261122180000", "1 min 15 s", "2 min 0 s", "5.0 MiB", "2.00 s ago"):
        assert text in output
    assert pvc("vm", "mirror", "list", "-f", "raw").output == "db\n"
