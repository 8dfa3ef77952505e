"""``pvc peer``, ``pvc vm snapshot send`` and ``abandon``, and what they ask of the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import connections
from cli.connections import Connection

from .fake_api import KEY

URI = "https://west.example.com:7370/api/v1"
WEST = {"name": "west", "api_uri": URI, "verify_ssl": True, "pool": "", "bandwidth": 50 << 20}


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (f"add west -a {URI} -k secret", "POST", "/peers", {"name": "west", "api_uri": URI, "token": "secret"}),
        (
            f"add west -a {URI} -k secret -p copies -b 50M --no-verify-ssl",
            "POST",
            "/peers",
            {
                "name": "west",
                "api_uri": URI,
                "token": "secret",
                "verify_ssl": False,
                "pool": "copies",
                "bandwidth": "50M",
            },
        ),
        ("modify west -b 0", "PUT", "/peers/west", {"bandwidth": "0"}),
        ("modify west -k other", "PUT", "/peers/west", {"token": "other"}),
        ("remove west -y", "DELETE", "/peers/west", None),
    ],
)
def test_what_is_sent_of_a_peer(pvc, api, arguments: str, method: str, path: str, body: Any) -> None:
    api.on(method, path, WEST)
    result = pvc("peer", *arguments.split())
    assert result.exit_code == 0, result.output
    (request,) = api.writes()
    assert (request.method, request.path, request.body) == (method, path, body)
    assert "secret" not in result.output


def test_the_list_of_peers(pvc, api) -> None:
    api.on("GET", "/peers", [WEST])
    output = pvc("peer", "list").output
    assert URI in output
    assert "50.0 MiB/s" in output
    assert pvc("peer", "list", "-f", "raw").output == "west\n"


def test_a_destination_by_its_address_needs_a_key_from_a_file_or_an_argument(pvc, api, tmp_path: Path) -> None:
    api.accepts("POST", "/vm/web/snapshot/send")
    assert pvc("vm", "snapshot", "send", "web", "s1", URI).exit_code == 2
    assert not api.writes()
    (tmp_path / "key").write_text("secret\n")
    assert pvc("vm", "snapshot", "send", "web", "s1", URI, "-k", f"@{tmp_path}/key", "-i", "s0").exit_code == 0
    assert api.writes()[0].body == {
        "snapshot_name": "s1",
        "incremental_parent": "s0",
        "destination_api_uri": URI,
        "destination_api_key": "secret",
    }


def test_a_destination_that_is_a_connection_comes_with_its_key(pvc, api) -> None:
    api.accepts("POST", "/vm/web/snapshot/send")
    connections.save({**connections.load(), "west": Connection("west", "west.example.com", ssl=True, api_key="other")})
    assert pvc("-c", "lab", "vm", "snapshot", "send", "web", "s1", "west", "-p", "copies").exit_code == 0
    (request,) = api.writes()
    assert request.body == {
        "snapshot_name": "s1",
        "destination_storage_pool": "copies",
        "destination_api_uri": URI,
        "destination_api_key": "other",
    }
    assert request.headers["x-api-key"] == KEY


def test_any_other_destination_is_a_peer_of_the_cluster(pvc, api) -> None:
    api.accepts("POST", "/vm/web/snapshot/send")
    assert pvc("vm", "snapshot", "send", "web", "s1", "north").exit_code == 0
    assert api.writes()[0].body == {"snapshot_name": "s1", "peer": "north"}


def test_what_came_only_in_part_is_given_up_when_that_is_confirmed(pvc, api) -> None:
    api.accepts("DELETE", "/vm/web/transfer/s1")
    assert pvc("vm", "snapshot", "abandon", "web", "s1", input="n\n").exit_code == 1
    assert not api.writes()
    assert pvc("vm", "snapshot", "abandon", "web", "s1", "-y").exit_code == 0
    assert len(api.writes()) == 1
