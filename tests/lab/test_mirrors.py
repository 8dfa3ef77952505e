"""One machine at two sites: sent over a line that is cut, handed over, taken by force, and brought together again. What
it writes is numbered, so that each copy shows what it lacks."""

from __future__ import annotations

import json

import pytest

from lab.errors import LabError
from tests.lab.sites import (
    AHEAD,
    Sites,
    awaited,
    brought_up_to_date,
    continued,
    copied,
    ended,
    flows,
    mirror,
    resumed,
    send,
    written_now,
)


def test_a_mirror_has_all_disks_of_one_moment_and_is_not_started(sites: Sites, traveller: str) -> None:
    brought_up_to_date(sites.east, sites.west)
    brought_up_to_date(sites.east, sites.west)
    there = sites.west.vm(traveller)
    assert there["state"] == "mirror"
    assert there["mirror"]["role"] == "secondary"
    with pytest.raises(LabError, match="mirror"):
        sites.west.pvc("vm", "start", traveller)


@pytest.mark.parametrize(
    ("at_east", "service"),
    [(True, "pvc-bulk"), (True, "redis"), (False, "pvc-bulk"), (False, "pvc-web"), (False, "redis")],
)
def test_a_part_of_either_side_dies_during_a_transfer(
    sites: Sites, traveller: str, at_east: bool, service: str
) -> None:
    before = written_now(sites.east)
    side = sites.east if at_east else sites.west
    with sites.slow(16e6):
        task = send(sites.east, "POST", f"/vm/{traveller}/mirror/create")
        awaited(sites.east, task, "the transfer", flows)
        for host in ("infra",) if service == "redis" else side.cluster.nodes:
            side.on_host(host, "sv", "kill", service)
    outcome = ended(sites.east, task, 180)
    assert outcome["state"] == "SUCCESS", outcome
    sites.west.wait("its API", lambda: sites.west.api("GET", "/mirrors"), 60)
    assert copied(sites.west, mirror(sites.west)["snapshot"]) >= before


def require_sound_lags(sites: Sites) -> None:
    """At both sites, the age of the copy is not the difference of the clocks."""
    for site in (sites.east, sites.west):
        assert 0 < mirror(site)["lag_seconds"] < AHEAD / 2, mirror(site)


def test_clocks_that_are_an_hour_apart_are_not_taken_for_lag(sites: Sites, traveller: str) -> None:
    east, west = (site.api("GET", "/mirrors")["time"] for site in (sites.east, sites.west))
    assert abs(west - east - AHEAD) < 60
    brought_up_to_date(sites.east, sites.west)
    require_sound_lags(sites)


def test_a_machine_that_is_handed_over_loses_nothing_and_can_come_back(sites: Sites, traveller: str) -> None:
    for source, target in ((sites.east, sites.west), (sites.west, sites.east)):
        before = written_now(source)
        source.pvc("vm", "mirror", "promote", traveller, "-y")
        target.wait_state(traveller, "start")
        resumed(target, before)
        assert source.vm(traveller)["state"] == "mirror"
        assert source.vm(traveller)["mirror"]["role"] == "secondary"
        written_now(target)
        require_sound_lags(sites)


def test_a_site_that_was_lost_follows_the_one_that_was_promoted_by_force(sites: Sites, traveller: str) -> None:
    brought_up_to_date(sites.east, sites.west)
    base = mirror(sites.west)["snapshot"]
    with sites.cut():
        lost = written_now(sites.east)
        sites.east.pvc("vm", "stop", traveller, "-y")
        earlier = sites.west.console_mark(traveller)
        told = sites.west.pvc("vm", "mirror", "promote", traveller, "--force", "-y")
        assert continued(sites.west, earlier) == copied(sites.west, base) < lost, told
    sites.east.wait("it to hear that", lambda: mirror(sites.east)["role"] == "superseded" or None, 60)
    with pytest.raises(LabError, match="promoted"):
        sites.east.pvc("vm", "start", traveller)
    sites.east.wait("the fault", lambda: "was promoted by force" in json.dumps(sites.east.api("GET", "/faults")), 30)
    sites.east.pvc("vm", "mirror", "resync", traveller, "-y")
    require_sound_lags(sites)
    kept = [one["name"] for one in sites.east.vm(traveller)["snapshots"] if one["name"].startswith("kept-")]
    assert copied(sites.east, kept[0]) >= lost
    brought_up_to_date(sites.west, sites.east)
    sites.west.pvc("vm", "mirror", "promote", traveller, "-y")
    sites.east.wait_state(traveller, "start")
