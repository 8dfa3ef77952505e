"""Snapshots on their way to another cluster, and all that may happen to them: what has not come whole is never shown as
if it had, and what has come is not sent again."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.error import HTTPError

import pytest

from lab.drive import Driver
from lab.errors import LabError
from lab.namespaces import CHECKOUT
from tests.lab.conftest import pvc_lab
from tests.lab.sites import (
    POOL,
    Sites,
    awaited,
    brought_up_to_date,
    copied,
    ended,
    flows,
    mirror,
    runs_on,
    send,
    written_now,
)

pytestmark = pytest.mark.soak

CUTS = 20
SLOW = 16e6  # bits a second; what was written since the last snapshot takes a few seconds
ROOM = 16 << 20  # bytes
_ISSUE = """
from pvc_web.accounts.models import Token, User
print(Token.objects.issue(User.objects.get(), "{name}")[1])
"""
_REVOKE = """
from pvc_web.accounts.models import Token
Token.objects.get(name="{name}").revoke()
"""


def snapshots(site: Driver, name: str) -> set[str]:
    return {one["name"] for one in site.vm(name)["snapshots"]}


def refused(site: Driver, method: str, path: str) -> str:
    """Why a request is."""
    with pytest.raises(HTTPError) as caught:
        send(site, method, path)
    assert caught.value.code == 409
    return str(json.load(caught.value)["message"])


def forget_connections(site: Driver) -> None:
    """The site knows nothing any more of the connections that it had."""
    for node in site.cluster.coordinators:
        site.on_host(node, "sv", "kill", "https")


@pytest.mark.timeout(600)
def test_what_is_cut_at_a_random_moment_arrives_whole(sites: Sites, traveller: str) -> None:
    seed = int(os.environ.get("PVC_TEST_SEED", random.randrange(1 << 32)))
    print(f"PVC_TEST_SEED={seed}")
    chance = random.Random(seed)
    east, west = sites.east, sites.west
    with sites.slow(SLOW):
        written_now(east)
        usual = ended(east, send(east, "POST", f"/vm/{traveller}/mirror/create"))["duration"]
        for number in range(CUTS):
            before, known = written_now(east), mirror(west)["snapshot"]
            task = send(east, "POST", f"/vm/{traveller}/mirror/create")
            time.sleep(chance.uniform(0, usual))
            with sites.cut():
                if chance.random() < 0.5:
                    forget_connections(west)
                shown = east.api("GET", f"/tasks/{task}")["status"]
                assert copied(west, known) <= before
            outcome = ended(east, task)
            print(f"{number}: cut at {shown!r}")
            assert outcome["state"] == "SUCCESS", outcome
            assert copied(west, mirror(west)["snapshot"]) >= before


class Shipment:
    """A snapshot that is sent whole though the other side has most of it: ``whole`` bytes, where that is known."""

    def __init__(self, sites: Sites, name: str, snapshot: str, whole: int = 0) -> None:
        self.sites, self.name, self.snapshot, self.whole = sites, name, snapshot, whole
        self.least = written_now(sites.east)
        sites.east.pvc("vm", "snapshot", "create", name, snapshot)
        self.task = self.send()

    @property
    def query(self) -> str:
        return f"/vm/{self.name}/snapshot/send?snapshot_name={self.snapshot}&peer=west"

    def send(self) -> str:
        task = send(self.sites.east, "POST", self.query)
        awaited(self.sites.east, task, "blocks on the line", flows)
        return task

    def fails(self) -> dict[str, Any]:
        """It has to: what the task says, when nothing of it is shown at the other side."""
        outcome = ended(self.sites.east, self.task)
        assert outcome["state"] == "FAILURE", outcome
        assert "waits at the other side" in str(outcome["left"])
        assert self.snapshot not in snapshots(self.sites.west, self.name)
        copied(self.sites.west, mirror(self.sites.west)["snapshot"])
        return outcome

    def goes_on(self) -> None:
        """Once more, with a part of it there already."""
        outcome = ended(self.sites.east, send(self.sites.east, "POST", self.query))
        assert outcome["state"] == "SUCCESS", outcome
        if self.whole:
            assert outcome["result"]["bytes"] < self.whole - (1 << 20)
        self.arrived()

    def arrived(self) -> None:
        assert copied(self.sites.west, self.snapshot) >= self.least
        brought_up_to_date(self.sites.east, self.sites.west)  # until then it is what both sides have
        for site in (self.sites.east, self.sites.west):
            site.pvc("vm", "snapshot", "remove", self.name, self.snapshot, "-y")


@pytest.fixture(scope="module")
def whole(sites: Sites, traveller: str) -> int:
    """The bytes of a snapshot that is sent whole; they do not become fewer as the pattern goes on."""
    shipment = Shipment(sites, traveller, "whole")
    outcome = ended(sites.east, shipment.task)
    shipment.arrived()
    return int(outcome["result"]["bytes"])


def test_a_snapshot_stays_while_it_is_sent_and_a_machine_is_sent_once_at_a_time(sites: Sites, traveller: str) -> None:
    with sites.slow(SLOW):
        shipment = Shipment(sites, traveller, "once")
        why = refused(sites.east, "DELETE", f"/vm/{traveller}/snapshot?snapshot_name=once")
        assert "vm.snapshot.send" in why
        assert shipment.task in refused(sites.east, "POST", shipment.query)
        assert shipment.task in refused(sites.east, "POST", f"/vm/{traveller}/mirror/create")
    assert ended(sites.east, shipment.task)["state"] == "SUCCESS"
    shipment.arrived()


@contextmanager
def room(site: Driver, more: int) -> Iterator[None]:
    """Let a site's Ceph be so small that the pool is full when it holds so many bytes more than now."""
    usage = json.loads(site.on_host("node1", "ceph", "df", "detail", "--format", "json"))
    stored = next(pool["stats"]["stored"] for pool in usage["pools"] if pool["name"] == POOL)
    total, used = usage["stats"]["total_bytes"], usage["stats"]["total_used_raw_bytes"]
    free = (stored + more) / 0.8 - stored
    ratio = f"{(used + free) / total:.6f}"
    try:
        for limit in ("nearfull", "backfillfull", "full"):
            site.on_host("node1", "ceph", "osd", f"set-{limit}-ratio", ratio)
        yield
    finally:
        for limit, usual in (("full", "0.95"), ("backfillfull", "0.9"), ("nearfull", "0.85")):
            site.on_host("node1", "ceph", "osd", f"set-{limit}-ratio", usual)


def test_what_fills_the_destination_is_named_and_goes_on_when_there_is_room(
    sites: Sites, traveller: str, whole: int
) -> None:
    with room(sites.west, ROOM), sites.slow(2 * SLOW):
        shipment = Shipment(sites, traveller, "full", whole)
        assert f"pool {POOL} is full" in shipment.fails()["status"]
    shipment.goes_on()


def token(site: Driver, script: str) -> str:
    command = (sys.executable, str(CHECKOUT / "manage.py"), "shell", "-v", "0", "-c", script)
    return site.on_host("node1", *command).strip()


@contextmanager
def lent_token(sites: Sites, name: str) -> Iterator[str]:
    """The eastern site comes with a token that can be revoked; afterwards with its usual one."""
    key = token(sites.west, _ISSUE.format(name=name))
    sites.east.pvc("peer", "modify", "west", "-k", key)
    try:
        yield key
    finally:
        sites.east.pvc("peer", "modify", "west", "-k", f"@{sites.west.cluster.token_file}")


def test_a_token_that_is_revoked_is_named_and_another_one_goes_on(sites: Sites, traveller: str) -> None:
    with lent_token(sites, "lent") as key, sites.slow(SLOW):
        shipment = Shipment(sites, traveller, "revoked")
        token(sites.west, _REVOKE.format(name="lent"))
        why = shipment.fails()["status"]
    assert "cluster west" in why
    assert "API key" in why
    assert key not in why
    shipment.goes_on()


def test_what_came_in_part_is_given_up_and_comes_anew(sites: Sites, traveller: str) -> None:
    west, abandon = sites.west, ("vm", "snapshot", "abandon", traveller, "given-up", "-y")
    with lent_token(sites, "short"), sites.slow(SLOW):
        shipment = Shipment(sites, traveller, "given-up")
        token(west, _REVOKE.format(name="short"))
        shipment.fails()
    assert "no longer received" in west.pvc(*abandon)
    with pytest.raises(LabError, match="given-up"):
        west.pvc(*abandon)
    copied(west, mirror(west)["snapshot"])
    shipment.goes_on()


def primary(site: Driver) -> str:
    return str(site.api("GET", "/status/primary_node")["primary_node"])


@contextmanager
def powerless(site: Driver, node: str) -> Iterator[None]:
    """A node without power, which comes back in the end."""
    pvc_lab("kill", node, name=site.cluster.name)
    try:
        yield
    finally:
        pvc_lab("start", node, name=site.cluster.name)
        site.wait("the end of the fence", lambda: not site.api("GET", f"/node/{node}")["fence"], 60)
        site.pvc("node", "ready", node, "-w")


def test_the_primary_that_receives_loses_its_power(sites: Sites, traveller: str) -> None:
    with ExitStack() as stack:
        with sites.slow(SLOW):
            shipment = Shipment(sites, traveller, "received")
            stack.enter_context(powerless(sites.west, primary(sites.west)))
        outcome = ended(sites.east, shipment.task, 180)
        assert outcome["state"] == "SUCCESS", outcome
        shipment.arrived()


def test_the_primary_that_sends_loses_its_power_with_the_machine_on_it(sites: Sites, traveller: str) -> None:
    """The machine runs elsewhere, and what it writes there goes on to the other side."""
    east = sites.east
    (node,) = runs_on(east)
    east.pvc("node", "primary", node, "-w")
    with ExitStack() as stack:
        with sites.slow(SLOW):
            before = written_now(east)
            task = send(east, "POST", f"/vm/{traveller}/mirror/create")
            awaited(east, task, "blocks on the line", flows)
            stack.enter_context(powerless(east, node))
        east.wait("its recovery", lambda: runs_on(east), 60)
    outcome = ended(east, task, 180)
    print(outcome["state"], outcome["status"])
    brought_up_to_date(east, sites.west)
    assert copied(sites.west, mirror(sites.west)["snapshot"]) > before
