"""``pvc cluster fault`` and what it asks of the API."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from .documents import fault

FAULTS = [
    fault(),
    fault(id="b2c3", status="ack", acknowledged_at="2023-12-01 17:50:00.000000", node="node2", message="node2: down"),
    fault(id="c3d4", over=True, message="VM db: no disk"),
]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown in the zone of the person's machine."""
    with monkeypatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_list_short_long_and_json(pvc, api) -> None:
    api.on("GET", "/faults", FAULTS)
    short, long = pvc("cluster", "fault", "list").output, pvc("cluster", "fault", "list", "-f", "long").output
    for text in (short, long):
        first, second, third = text.splitlines()[1:]
        assert first.split()[:4] == ["a1b2", "new", "-10", "%"]
        assert "2023-12-01 17:39:45" in first
        assert "VM web: no image" in first
        assert second.split()[1] == "ack"
        assert third.split()[1] == "over"
    assert "16:47:59" not in short
    assert "2023-12-01 16:47:59" in long
    assert "2023-12-01 17:50:00" in long
    assert json.loads(pvc("cluster", "fault", "list", "-f", "json").output) == FAULTS


def test_list_passes_the_limit_on_and_says_when_there_is_none(pvc, api) -> None:
    api.on("GET", "/faults", [])
    assert pvc("cluster", "fault", "list", "^VM").output == "No faults.\n"
    assert api.requests[-1].query == {"limit": ["^VM"]}


@pytest.mark.parametrize(("command", "method"), [("ack", "PUT"), ("delete", "DELETE")])
def test_some_are_written_one_by_one(pvc, api, command: str, method: str) -> None:
    for name in ("a1b2", "c3d4"):
        api.accepts(method, f"/faults/{name}")
    result = pvc("cluster", "fault", command, "a1b2", "c3d4")
    assert result.exit_code == 0
    assert [(request.method, request.path) for request in api.writes()] == [
        (method, "/faults/a1b2"),
        (method, "/faults/c3d4"),
    ]
    assert pvc("cluster", "fault", command).exit_code == 2


def test_one_that_is_not_there_is_an_error(pvc, api) -> None:
    result = pvc("cluster", "fault", "ack", "none")
    assert result.exit_code == 1
    assert "none" in result.stderr
