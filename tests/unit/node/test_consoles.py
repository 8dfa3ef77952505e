"""Console logs are followed through whatever happens to their files, within bounds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvc_core.fakes.clock import FakeClock
from pvc_node import consoles
from pvc_node.consoles import Consoles

UUID = "11111111-1111-1111-1111-111111111111"
OTHER = "22222222-2222-2222-2222-222222222222"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / f"{UUID}.log"


@pytest.fixture
def followed(tmp_path: Path, clock: FakeClock) -> Consoles:
    return Consoles(tmp_path, 10, clock)


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def texts(followed: Consoles, count: int = 100) -> list[str]:
    return [text for _, text in followed.tail(UUID, count) or []]


def test_lines_have_the_time_at_which_they_were_received(followed: Consoles, log: Path, clock: FakeClock) -> None:
    append(log, b"")
    followed.scan()
    first = clock.now()
    append(log, b"one\r\ntwo\nthr")
    followed.scan()
    clock.advance(5)
    append(log, b"ee\nfour\n")
    assert followed.tail(UUID, 10) == [(first, "one"), (first, "two"), (first, "three"), (first + 5, "four")]


def test_what_was_there_before_the_daemon_has_the_files_time(followed: Consoles, log: Path) -> None:
    append(log, b"old\n")
    os.utime(log, (1000, 2000))
    followed.scan()
    assert followed.tail(UUID, 10) == [(2000.0, "old")]


def test_the_last_lines_are_answered_the_unfinished_one_included(followed: Consoles, log: Path) -> None:
    append(log, b"a\nb\nlogin: ")
    followed.scan()
    assert texts(followed, 2) == ["b", "login: "]
    assert texts(followed, 0) == []


def test_an_unknown_console_is_none(followed: Consoles) -> None:
    followed.scan()
    assert followed.tail(UUID, 10) is None


def test_memory_is_bounded_in_lines_and_bytes(followed: Consoles, log: Path) -> None:
    append(log, b"")
    followed.scan()
    for number in range(1000):
        append(log, b"line %d\n" % number)
        followed.scan()
    assert texts(followed) == [f"line {number}" for number in range(990, 1000)]
    append(log, b"x" * (3 * consoles.MAX_BYTES))
    followed.scan()
    assert sum(map(len, texts(followed))) <= 2 * consoles.MAX_BYTES


@pytest.mark.parametrize("method", ["truncate", "rename"])
def test_rotation_loses_no_line(followed: Consoles, log: Path, method: str) -> None:
    append(log, b"one\n")
    followed.scan()
    if method == "truncate":
        os.truncate(log, 0)
    else:
        append(log, b"written before the rename\n")
        log.rename(log.with_suffix(".log.0"))
    append(log, b"2\n")
    expected = ["one", "2"] if method == "truncate" else ["one", "written before the rename", "2"]
    assert texts(followed) == expected


def test_a_removed_file_keeps_its_lines_until_a_new_one_is_there(followed: Consoles, log: Path) -> None:
    append(log, b"one\n")
    followed.scan()
    log.unlink()
    followed.scan()
    assert texts(followed) == ["one"]
    append(log, b"two\n")
    assert texts(followed) == ["one", "two"]


def test_files_are_bounded_while_the_guest_writes_on(followed: Consoles, log: Path) -> None:
    with log.open("ab", buffering=0) as guest:
        for number in range(400):
            guest.write(b"%08d " % number + b"x" * 8000 + b"\n")
            if number % 10 == 0:
                followed.scan()
        guest.write(b"the end\n")
    assert texts(followed)[-1] == "the end"
    assert log.stat().st_blocks * 512 <= 2 * consoles.MAX_FILE
    assert log.with_suffix(".log.1").stat().st_size <= 2 * consoles.MAX_FILE


def test_consoles_of_machines_that_are_gone_are_removed(followed: Consoles, log: Path, tmp_path: Path) -> None:
    other = tmp_path / f"{OTHER}.log"
    unrelated = tmp_path / "notes.txt"
    for path in (log, other, unrelated, other.with_suffix(".log.1")):
        append(path, b"x\n")
    followed.scan()
    followed.prune({UUID})
    assert sorted(tmp_path.iterdir()) == [log, unrelated]
    assert followed.tail(OTHER, 1) is None


def test_an_unreadable_directory_is_said_once(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    missing = Consoles(tmp_path / "missing", 10, clock)
    for _ in range(3):
        missing.scan()
        missing.prune(set())
    assert len(caplog.messages) == 1
