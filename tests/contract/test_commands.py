"""Programs of a node: run without a shell, ended in time."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from pvc_core.drivers.commands import NodeCommands
from pvc_core.errors import Cancelled, DriverError

commands = NodeCommands()


def test_arguments_are_handed_over_as_they_are(tmp_path: Path) -> None:
    commands.run(["/usr/bin/touch", f"{tmp_path}/a b;$(c)"], 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a b;$(c)"]


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(DriverError, match="status 3: what went wrong"):
        commands.run(["/bin/sh", "-c", "echo what went wrong >&2; exit 3"], 10)


def test_a_program_that_is_not_there_is_told() -> None:
    with pytest.raises(DriverError, match="cannot be run"):
        commands.run(["/no/such/program"], 10)


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = f"{tmp_path.name}-sleeper"
    with pytest.raises(DriverError, match="longer than 1 s"):
        commands.run(["/bin/bash", "-c", f"(exec -a {mark} sleep 600) & wait"], 1)
    deadline = time.monotonic() + 10
    while subprocess.run(["pgrep", "-f", mark], capture_output=True).returncode == 0:
        assert time.monotonic() < deadline, "its child lives on"
        time.sleep(0.05)


def test_a_cancelled_program_is_ended() -> None:
    with pytest.raises(Cancelled):
        commands.run(["/bin/sleep", "600"], 600, lambda: True)


def test_a_program_learns_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    with pytest.raises(DriverError) as caught:
        commands.run(["/bin/sh", "-c", "env; exit 1"], 10)
    assert "A_SECRET" not in str(caught.value)


def test_a_program_may_leave_a_daemon_behind() -> None:
    began = time.monotonic()
    commands.run(["/bin/sh", "-c", "sleep 5 & exit 0"], 60)
    assert time.monotonic() - began < 5
