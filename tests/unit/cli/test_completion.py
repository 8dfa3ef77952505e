"""Names that the shell completes."""

from __future__ import annotations

import time

import pytest
from click.shell_completion import ShellComplete

from cli import connections
from cli.connections import Connection
from cli.main import main

from .documents import network, node, task, vm
from .fake_api import KEY


def _completions(*words: str) -> list[str]:
    *before, incomplete = words
    complete = ShellComplete(main, {}, "pvc", "_PVC_COMPLETE")
    return [item.value for item in complete.get_completions(before, incomplete)]


def test_names_of_the_cluster(api) -> None:
    api.on("GET", "/vm", [vm(), vm(name="web2"), vm(name="db")])
    api.on("GET", "/node", [node()])
    api.on("GET", "/network", [network()])
    assert _completions("vm", "start", "we") == ["web", "web2"]
    assert api.requests[0].query == {"limit": ["^we"], "page_size": ["200"]}
    assert _completions("vm", "migrate", "web", "-t", "") == ["node1"]
    assert _completions("network", "info", "1") == ["100"]
    api.on("GET", "/tasks", {"tasks": [task()]})
    assert _completions("cluster", "task", "5b") == [task()["task_id"]]
    assert _completions("-c", "l") == ["lab"]
    assert _completions("vm", "vol") == ["volume"]


@pytest.mark.parametrize("port", [1, None])
def test_a_cluster_that_does_not_answer_completes_nothing_and_says_nothing(
    home, port: int | None, capfd: pytest.CaptureFixture[str]
) -> None:
    if port:
        connections.save({"lab": Connection("lab", "127.0.0.1", port)})
    assert _completions("vm", "start", "we") == []
    assert capfd.readouterr() == ("", "")


def test_a_slow_cluster_is_not_waited_for(api) -> None:
    connections.save({"lab": Connection("lab", "127.0.0.1", api.port, api_key=KEY)})
    api.on("GET", "/vm", lambda: time.sleep(5) or [])
    began = time.monotonic()
    assert _completions("vm", "start", "we") == []
    assert time.monotonic() - began < 4
