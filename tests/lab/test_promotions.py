"""A machine is handed over, and what does it dies, or is cut off, at each step: afterwards both sides agree who leads,
the machine runs there alone, and nothing that it wrote is missing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.drive import Driver
from lab.errors import LabError
from tests.lab.conftest import pvc_lab
from tests.lab.sites import (
    Sites,
    awaited,
    brought_up_to_date,
    continued,
    copied,
    ended,
    mirror,
    mirror_role,
    resumed,
    runs_on,
    said,
    send,
    written_now,
)

pytestmark = pytest.mark.soak

# As the task counts them: shut down, snapshot, send, hand over. Before these it does what ``mirror create`` does.
STEPS = range(3, 7)
HANDING_OVER = STEPS[-1]


@pytest.fixture(scope="module", autouse=True)
def ends_in_the_east(sites: Sites, traveller: str) -> Iterator[None]:
    yield
    if mirror_role(sites.west) == "primary":
        sites.west.pvc("vm", "mirror", "promote", traveller, "-y")


def promote(source: Driver, name: str) -> str:
    return send(source, "POST", f"/vm/{name}/mirror/promote")


def until_step(source: Driver, task: str, step: int) -> None:
    found = awaited(source, task, f"step {step}", lambda now: now["current"] >= step and now["state"] == "RUNNING")
    print(f"at step {found['current']}: {found['status']}")


def kill_workers(site: Driver) -> None:
    for node in site.cluster.nodes:
        site.on_host(node, "sv", "kill", "pvc-bulk")


def hears(source: Driver) -> bool:
    """Whether the source learns by itself that the other side took over."""
    try:
        return source.wait("it", lambda: {"primary": "no", "secondary": "yes"}.get(mirror_role(source)), 15) == "yes"
    except LabError:
        return False


def require_agreement(sites: Sites, source: Driver, task: str, name: str, before: int) -> None:
    """After one more command at most."""
    outcome = ended(source, task)
    target = sites.west if source is sites.east else sites.east
    if outcome["state"] != "SUCCESS":
        print(outcome["status"])
        if not hears(source):
            source.pvc("vm", "mirror", "promote", name, "-y")
    assert (mirror_role(source), mirror_role(target)) == ("secondary", "primary")
    assert mirror(source)["epoch"] == mirror(target)["epoch"]
    assert resumed(target, before) >= said(source)
    written_now(target)
    assert (runs_on(source), len(runs_on(target))) == ([], 1)


@pytest.mark.parametrize("step", STEPS)
def test_the_worker_dies_that_hands_over(sites: Sites, traveller: str, step: int) -> None:
    source, _ = sites.home()
    before = written_now(source)
    task = promote(source, traveller)
    until_step(source, task, step)
    kill_workers(source)
    require_agreement(sites, source, task, traveller, before)


def test_the_worker_dies_that_takes_over(sites: Sites, traveller: str) -> None:
    source, target = sites.home()
    before = written_now(source)
    task = promote(source, traveller)
    until_step(source, task, HANDING_OVER)
    kill_workers(target)
    require_agreement(sites, source, task, traveller, before)


def test_it_is_not_started_again_while_nobody_can_say_who_leads(sites: Sites, traveller: str) -> None:
    """The line is cut as the other side is asked to take over, and the worker that asked dies."""
    source, _ = sites.home()
    before = written_now(source)
    task = promote(source, traveller)
    until_step(source, task, HANDING_OVER)
    with sites.cut():
        kill_workers(source)
        awaited(source, task, "the next attempt", lambda now: now["attempt"] == 2 and now["state"] == "RUNNING")
        assert mirror_role(source) == "handing"
        assert runs_on(source) == []
    require_agreement(sites, source, task, traveller, before)


def boots(site: Driver, name: str) -> int:
    return site.console(name, 1000).count("guest: pattern continues after")


def test_a_site_that_loses_its_power_follows_when_it_is_back(sites: Sites, traveller: str) -> None:
    """All of its nodes at once. What keeps its disks in memory has power: it must not be what is lost."""
    source, target = sites.home()
    brought_up_to_date(source, target)
    base = mirror(target)["snapshot"]
    lost, booted = written_now(source), boots(source, traveller)
    for node in source.cluster.nodes:
        pvc_lab("kill", node, name=source.cluster.name)
    try:
        earlier = target.console_mark(traveller)
        told = target.pvc("vm", "mirror", "promote", traveller, "--force", "-y")
        assert continued(target, earlier) == copied(target, base) < lost, told
    finally:
        for node in source.cluster.nodes:
            pvc_lab("start", node, name=source.cluster.name)
    source.wait("it to hear that", lambda: mirror_role(source) == "superseded" or None, 180)
    source.wait_state(traveller, "mirror")
    assert (runs_on(source), boots(source, traveller)) == ([], booted)
    source.pvc("vm", "mirror", "resync", traveller, "-y")
    kept = [one["name"] for one in source.vm(traveller)["snapshots"] if one["name"].startswith("kept-")]
    assert max(copied(source, one) for one in kept) >= lost
    before = written_now(target)
    target.pvc("vm", "mirror", "promote", traveller, "-y")
    resumed(source, before)
