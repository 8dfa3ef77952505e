"""Logs: the last lines, and only what is new while following."""

from __future__ import annotations

import signal
import subprocess

import pytest

from cli.log import new_lines

from .terminal import COMMAND, ROOT


@pytest.mark.parametrize(
    ("shown", "now", "new"),
    [
        ([], ["a"], ["a"]),
        (["a"], [], []),
        (["a", "b"], ["a", "b"], []),
        (["a", "b"], ["a", "b", "c"], ["c"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        (["a", "b"], ["x", "y"], ["x", "y"]),  # more came than one look shows
        (["a", "", ""], ["", "", "", "b"], ["", "b"]),
        (["tick", "tick"], ["tick", "tock"], ["tock"]),
        (["boot", "log"], ["boot", "login:"], ["login:"]),  # the last line was still being written
        (["boot", "log"], ["boot", "login:", "ok"], ["login:", "ok"]),
        (["a", "b", "a"], ["b", "a", "b", "a"], ["b", "a"]),
    ],
)
def test_new_lines(shown: list[str], now: list[str], new: list[str]) -> None:
    assert list(new_lines(shown, now)) == new


def test_last_lines(pvc, api) -> None:
    api.on("GET", "/vm/web/console", {"name": "web", "data": "one\r\ntwo\x1b[2J\n"})
    assert pvc("vm", "log", "web", "-l", "2").output == "one\ntwo[2J\n"
    assert api.requests[0].query == {"lines": ["2"]}
    api.on("GET", "/node/hv1/log", {"name": "hv1", "data": ""})
    assert pvc("node", "log", "hv1").output == ""
    assert api.requests[1].query == {"lines": ["100"]}


def test_follow_shows_each_line_once_until_it_is_interrupted(api) -> None:
    looks = [["a", "b"], ["a", "b", "c"], ["b", "c", "d"]]
    first, *others = [(200, {"name": "web", "data": "\n".join(lines)}) for lines in looks]
    away = (503, {"message": "the daemon of node1 does not answer", "code": "unavailable"})
    api.replies["GET", "/vm/web/console"] = [first, away, *others]
    command = [*COMMAND, "vm", "log", "web", "-f", "-l", "1"]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["b\n", "c\n", "d\n"]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (0, "")
    assert errors.strip() == "the daemon of node1 does not answer; trying on"
