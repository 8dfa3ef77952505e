"""From an accepted write to its end: waiting, leaving, cancelling."""

from __future__ import annotations

import signal
import subprocess
import threading

import pytest

from cli import tasks

from .documents import task
from .fake_api import TASK, FakeApi
from .terminal import COMMAND, ROOT, Terminal

RUNNING = {"state": "RUNNING", "status": "copies", "current": 1, "total": 3}
FAILED = {"state": "FAILURE", "error": {"code": "failed", "message": "no space"}, "left": ["volume x is there"]}
REVOKED = {"state": "REVOKED", "error": {"code": "cancelled", "message": "cancelled on request"}}


def test_success_is_waited_for(pvc, api) -> None:
    done = {"state": "SUCCESS", "result": {"message": "web runs on node1"}}
    api.accepts("POST", "/vm/web/state", {"state": "PENDING"}, RUNNING, done)
    result = pvc("vm", "start", "web")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "web runs on node1\n", "")
    assert [request.query for request in api.requests[1:]] == [{"wait": ["10"]}] * 3


def test_failure_says_why_and_what_is_left(pvc, api) -> None:
    api.accepts("POST", "/vm/web/state", RUNNING, FAILED)
    result = pvc("vm", "start", "web")
    assert result.exit_code == 1
    assert result.stderr == f"Error: task {TASK} failed: no space\n  left behind: volume x is there\n"


def test_cancelled_elsewhere_is_no_success(pvc, api) -> None:
    api.accepts("POST", "/vm/web/state", REVOKED)
    result = pvc("vm", "start", "web")
    assert result.exit_code == 1
    assert "was cancelled" in result.stderr


def test_no_wait_prints_the_id(pvc, api) -> None:
    api.accepts("POST", "/vm/web/state")
    assert TASK in pvc("vm", "start", "web", "--no-wait").output
    assert pvc("-q", "vm", "start", "web", "--no-wait").output == f"{TASK}\n"
    assert {request.method for request in api.requests} == {"POST"}


def test_silent_says_nothing_of_success(pvc, api) -> None:
    api.accepts("POST", "/vm/web/state")
    assert pvc("-s", "vm", "start", "web").output == ""


def test_a_while_without_answers_is_borne(pvc, api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the primary changes: the cluster cannot answer, then another coordinator does."""
    monkeypatch.setattr(tasks, "RETRY", 0.01)
    api.accepts("POST", "/vm/web/state")
    done = api.replies["GET", f"/tasks/{TASK}"]
    api.replies["GET", f"/tasks/{TASK}"] = [(503, {"message": "no quorum", "code": "unavailable"}), (502, b"?"), *done]
    assert pvc("vm", "start", "web").output == "It was done.\n"


def test_a_cluster_that_stays_away_is_left(pvc, api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RETRY", 0.01)
    monkeypatch.setattr(tasks, "PATIENCE", 0.05)
    api.accepts("POST", "/vm/web/state")
    api.on("GET", f"/tasks/{TASK}", b"?", status=502)
    result = pvc("vm", "start", "web")
    assert result.exit_code == 3
    assert f"Task {TASK} goes on" in result.stderr


def test_list(pvc, api) -> None:
    api.on("GET", "/tasks", {"active": {}, "reserved": {}, "scheduled": {}, "total": 1, "tasks": [task()]})
    text = pvc("cluster", "task").output
    for part in (TASK, "vm.start", "vm:web", "SUCCESS", "2/2", "admin", "1 min 11 s"):
        assert part in text
    assert pvc("cluster", "task", "-f", "raw").output == f"{TASK}\n"


def test_show_one_that_ended(pvc, api) -> None:
    failed = task(**FAILED)
    api.on("GET", f"/tasks/{TASK}", failed)
    result = pvc("cluster", "task", TASK)
    assert result.exit_code == 1
    assert "no space" in result.output
    assert "volume x is there" in result.output
    assert pvc("cluster", "task", TASK, "--no-wait").exit_code == 0


def test_cancel(pvc, api) -> None:
    api.on("DELETE", f"/tasks/{TASK}", {"message": "It is asked to stop."})
    api.on("GET", f"/tasks/{TASK}", task(**RUNNING), task(**REVOKED))
    result = pvc("cluster", "task", "--cancel", TASK)
    assert result.exit_code == 0
    assert "It is asked to stop." in result.stderr
    assert "REVOKED" in result.output


def test_cancel_of_an_ended_one_is_refused(pvc, api) -> None:
    api.on("DELETE", f"/tasks/{TASK}", {"message": "it has ended", "code": "conflict"}, status=409)
    assert pvc("cluster", "task", "--cancel", TASK).exit_code == 1
    assert pvc("cluster", "task", "--cancel").exit_code == 2


def test_bar_draws_within_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    bar = tasks.Bar(enabled=True, clock=lambda: 5.0)
    bar.show({"state": "RUNNING", "current": 1, "total": 2, "status": "copies " * 40})
    bar.clear()
    first, second = capsys.readouterr().err.split("\r")[1:]
    assert "1/2 0 s copies" in first
    assert len(first.removeprefix("\x1b[2K")) == 59
    assert second == "\x1b[2K"


class Unending:
    """The task's document: running, held back like a long poll, until ``end`` is set."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.end = threading.Event()

    def __call__(self) -> dict[str, object]:
        self.asked.set()
        self.end.wait(5)
        return {"task_id": TASK, "left": [], "status": "", **(REVOKED if self.end.is_set() else RUNNING)}


def _unending(api: FakeApi) -> Unending:
    unending = Unending()
    api.accepts("POST", "/vm/web/state")
    api.on("GET", f"/tasks/{TASK}", unending)
    api.on("DELETE", f"/tasks/{TASK}", lambda: unending.end.set() or {"message": "It is asked to stop."})
    return unending


def test_interrupted_without_a_terminal_it_leaves_the_task_running(api) -> None:
    unending = _unending(api)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "vm", "start", "web"], cwd=ROOT, text=True, **streams) as process:
        assert unending.asked.wait(10)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    unending.end.set()
    assert process.returncode == 130
    assert f"Task {TASK} goes on" in errors
    assert "DELETE" not in {request.method for request in api.requests}


@pytest.mark.parametrize(("answer", "exit_code", "cancels"), [("cancel", 1, True), ("leave", 130, False)])
def test_interrupted_at_a_terminal_it_asks(api, answer: str, exit_code: int, cancels: bool) -> None:
    unending = _unending(api)
    with Terminal("vm", "start", "web") as terminal:
        assert unending.asked.wait(10)
        terminal.process.send_signal(signal.SIGINT)
        assert "0/1 0 s accepted" in terminal.wait_for("wait on?")
        terminal.type(f"{answer}\n")
        terminal.wait_for("was cancelled: cancelled on request" if cancels else "goes on")
        assert terminal.process.wait(10) == exit_code
    unending.end.set()
    assert ("DELETE" in {request.method for request in api.requests}) is cancels
