"""The control plane goes on when a coordinator's PostgreSQL leader, Redis master or all of it dies, or hangs.

The seconds are printed (``pytest -rP``); what is asserted is that no request fails in another way than by being told to
come back, and that each accepted task is done, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services.coordinators import PARTS, Coordinators, until

LIMIT = 30.0  # seconds that anything here is waited for, once
DONE = ["first of attempt 1", "third"]  # what a probe writes that was performed once


@pytest.fixture(scope="module")
def coordinators() -> Iterator[Coordinators]:
    with Coordinators() as coordinators:
        yield coordinators


class Traffic:
    """Requests for probes, one after another, for as long as the context lasts."""

    def __init__(self, coordinators: Coordinators, directory: Path) -> None:
        self._coordinators = coordinators
        self._directory = directory
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.answers: dict[Path, int] = {}

    def __enter__(self) -> Traffic:
        self._thread.start()
        self.await_accepted(3)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def accepted(self) -> list[Path]:
        return [path for path, status in self.answers.items() if status == 202]

    def await_accepted(self, more: int) -> None:
        known = len(self.accepted)
        until(lambda: len(self.accepted) >= known + more, LIMIT)

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            path = self._directory / str(len(self.answers))
            self.answers[path] = self._coordinators.ask_for_probe(path)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def postgresql(coordinators: Coordinators) -> list[str]:
    return [f"patroni-{coordinators.leader()}"]


def redis(coordinators: Coordinators) -> list[str]:
    return [f"redis-{coordinators.master()}"]


def everything(coordinators: Coordinators) -> list[str]:
    """PostgreSQL's leader with all else on its coordinator, and Redis' master if that is another's."""
    whole = [f"{part}-{coordinators.leader()}" for part in PARTS]
    return sorted({*whole, *redis(coordinators)})


@pytest.mark.parametrize(
    ("victims", "how"),
    [
        (postgresql, Coordinators.crash),
        (redis, Coordinators.crash),
        (everything, Coordinators.crash),
        (everything, Coordinators.hang),
    ],
    ids=lambda part: part.__name__,
)
def test_a_coordinator_is_lost(
    coordinators: Coordinators,
    tmp_path: Path,
    victims: Callable[[Coordinators], list[str]],
    how: Callable[[Coordinators, list[str]], None],
) -> None:
    tmp_path.chmod(0o755)
    with Traffic(coordinators, tmp_path) as traffic:
        gone = victims(coordinators)
        lost_at = time.monotonic()
        how(coordinators, gone)
        until(lambda: coordinators.get("tasks", LIMIT) == 200, LIMIT)
        answered = time.monotonic() - lost_at
        traffic.await_accepted(3)
        done = until(lambda: all(lines(path) == DONE for path in traffic.accepted), LIMIT)
    print(f"{', '.join(gone)}: the API answered after {answered:.1f} s, and tasks were done {done:.1f} s later")
    coordinators.bring_back(gone)

    assert set(traffic.answers.values()) <= {202, 503}
    until(lambda: all(lines(path) == DONE for path in traffic.accepted), LIMIT)
    until(lambda: not coordinators.query("SELECT 1 FROM tasks_task WHERE state IN ('queued', 'running')"), LIMIT)
    tasks = coordinators.query("SELECT arguments->>'path', state, attempt FROM tasks_task")
    here = [task for task in tasks if str(task[0]).startswith(f"{tmp_path}/")]
    assert {str(path) for path in traffic.accepted} <= {task[0] for task in here}
    assert {task[1:] for task in here} == {("succeeded", 1)}
    assert [lines(Path(str(task[0]))) for task in here] == [DONE] * len(here)
