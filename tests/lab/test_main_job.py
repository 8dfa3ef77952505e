"""The main job of a cluster, as `make demo` runs it: each of its steps checks itself by what the guest says."""

from __future__ import annotations

import pytest

from lab import demo
from lab.demo import Demo


@pytest.fixture(scope="module")
def job(cluster) -> Demo:
    return Demo(cluster)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", range(len(demo.STEPS)), ids=[what for what, _ in demo.STEPS])
def test_step(job: Demo, number: int) -> None:
    if number and getattr(job, "reached", -1) != number - 1:
        pytest.fail("an earlier step failed")
    demo.STEPS[number][1](job)
    job.reached = number


def test_the_tasks_of_the_job_have_progress_an_end_an_asker_and_a_duration(job: Demo) -> None:
    tasks = job.tasks()
    names = {task["task_name"] for task in tasks}
    assert {"vm.define", "vm.start", "vm.migrate", "vm.attach", "vm.detach", "volume.import", "vm.remove"} <= names
    for task in tasks:
        assert task["current"] == task["total"], task
        assert task["requested_by"] == "admin"
        assert task["duration"] >= 0
