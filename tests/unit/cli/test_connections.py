"""The file of connections, and how one is chosen."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from cli import connections
from cli.connections import Connection
from cli.errors import CliError

from .fake_api import KEY


def test_add_list_and_remove(pvc, home: Path) -> None:
    assert "added" in pvc("connection", "add", "lab", "-a", "10.0.1.254", "-d", "The lab", "-k", KEY).output
    assert connections.load()["lab"] == Connection("lab", "10.0.1.254", 7370, False, KEY, "The lab")
    assert "changed" in pvc("connection", "add", "lab", "-a", "10.0.1.254", "-p", "443", "-s").output
    assert connections.load()["lab"].url == "https://10.0.1.254:443"
    assert pvc("connection", "list", "-f", "raw").output == "lab\n"
    assert pvc("connection", "remove", "lab").exit_code == 0
    assert connections.load() == {}
    assert pvc("connection", "remove", "lab").exit_code == 1


def test_the_file_is_for_its_owner_alone(pvc, home: Path) -> None:
    os.umask(0o022)
    pvc("connection", "add", "lab", "-a", "h", "-k", KEY)
    assert stat.S_IMODE((home / "connections.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [path.name for path in home.iterdir()] == ["connections.json"]


@pytest.mark.parametrize("style", ["pretty", "raw", "json", "json-pretty", "json-prometheus"])
def test_keys_are_hidden_unless_asked_for(pvc, home: Path, style: str) -> None:
    pvc("connection", "add", "lab", "-a", "h", "-k", KEY)
    assert KEY not in pvc("connection", "list", "-f", style).output
    assert KEY in pvc("connection", "list", "--show-keys").output


def test_key_from_file_and_from_standard_input(pvc, home: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY + "\n")
    pvc("connection", "add", "one", "-a", "h", "-k", f"@{tmp_path / 'key'}")
    pvc("connection", "add", "two", "-a", "h", "-k", "-", input=f"{KEY}\n")
    assert {c.api_key for c in connections.load().values()} == {KEY}
    missing = pvc("connection", "add", "three", "-a", "h", "-k", f"@{tmp_path / 'none'}")
    assert missing.exit_code == 2
    assert "cannot be read" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-a", "http://h"], "neither a host name nor an IP address"),
        (["-a", "h", "-p", "0"], "0 is not in the range"),
        (["-a", "h", "-k", "two words"], "an API key is one line"),
        ([], "Missing option '-a'"),
    ],
)
def test_bad_input_is_named(pvc, home: Path, arguments: list[str], says: str) -> None:
    result = pvc("connection", "add", "lab", *arguments)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert connections.load() == {}


def test_prometheus_targets(pvc, home: Path) -> None:
    pvc("connection", "add", "lab", "-a", "10.0.1.254")
    (target,) = json.loads(pvc("connection", "list", "-f", "json-prometheus").output)
    assert target["targets"] == ["10.0.1.254:7370"]
    assert target["labels"]["__metrics_path__"] == "/api/v1/metrics"


def test_choosing(home: Path) -> None:
    one, two = Connection("one", "h"), Connection("two", "h")
    assert connections.choose({"one": one}, None) is one
    assert connections.choose({"one": one, "two": two}, "two") is two
    with pytest.raises(CliError, match=r"choose a cluster with -c NAME.*known are one, two"):
        connections.choose({"one": one, "two": two}, None)
    with pytest.raises(CliError, match="no connection 'three'"):
        connections.choose({"one": one}, "three")
    with pytest.raises(CliError, match="no cluster is known yet"):
        connections.choose({}, None)


def test_environment_chooses_the_connection(pvc, api, monkeypatch: pytest.MonkeyPatch) -> None:
    known = connections.load()
    connections.save({**known, "other": Connection("other", "127.0.0.1", 1)})
    api.on("GET", "/vm", [])
    assert pvc("vm", "list").exit_code == 3
    monkeypatch.setenv("PVC_CONNECTION", "lab")
    assert pvc("vm", "list").exit_code == 0
    assert pvc("-c", "other", "vm", "list").exit_code == 3


def test_a_broken_file_is_named(pvc, home: Path) -> None:
    home.mkdir()
    (home / "connections.json").write_text('{"lab": {"adress": "h"}}')
    result = pvc("vm", "list")
    assert result.exit_code == 1
    assert "connections.json is not a file of connections" in result.stderr


def test_detail_shows_those_that_answer_and_those_that_do_not(pvc, api) -> None:
    from .documents import STATUS

    api.on("GET", "/status", STATUS)
    connections.save({**connections.load(), "gone": Connection("gone", "127.0.0.1", 1)})
    rows = {row["name"]: row for row in json.loads(pvc("connection", "detail", "-f", "json").output)}
    assert rows["lab"]["reachable"] is True
    assert rows["lab"]["health"] == 75
    assert rows["gone"]["reachable"] is False
    assert "Connection refused" in rows["gone"]["error"]
    assert pvc("connection", "detail").output.count("\n") == 3


def test_an_ipv6_address_is_bracketed_in_the_url() -> None:
    assert Connection("six", "fd00::1").url == "http://[fd00::1]:7370"
