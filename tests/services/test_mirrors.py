"""Two whole clusters and a machine that goes to and fro between them, over their APIs."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from lab.namespaces import CHECKOUT
from lab.site import POOL, Site
from pvc_core.model.mirror import PeerWatch
from pvc_core.state import records
from tests.contract.peers import content
from tests.services.processes import until

SIZE = 8 << 20
UUID = "00000000-0000-0000-0000-000000000001"


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Each is a peer of the other, and calls it."""
    directory = tmp_path_factory.mktemp("sites")
    with ExitStack() as stack:
        found = []
        for name in ("west", "east"):
            found.append(Site(directory / name, tls=False))
            stack.callback(found[-1].close)
        west, east = found
        for site, name, other in ((east, "west", west), (west, "east", east)):
            assert site.ask("POST", "peers", json={"name": name, "api_uri": other.uri, "token": other.token}).ok
            stack.callback(end, call_peers(site))
            until(lambda site=site, name=name: watch(site, name).answered > 0, 60)  # type: ignore[misc]
        yield east, west


def call_peers(site: Site) -> subprocess.Popen[bytes]:
    with (site.directory / "beat.log").open("ab") as log:
        command = ["setpriv", "--pdeathsig=KILL", sys.executable, "-m", "pvc_tasks.beat"]
        return subprocess.Popen(command, env=site.environment(), cwd=CHECKOUT, stdout=log, stderr=log)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def watch(site: Site, name: str) -> PeerWatch:
    entry = site.state.find(records.peer(name))
    return entry.value if entry is not None else PeerWatch(name)


def write(site: Site, seed: int) -> None:
    with site.blocks.open(POOL, "vm1_disk0", writable=True) as image:
        image.write(seed << 20, random.Random(seed).randbytes(1 << 20))


def act(site: Site, action: str, **body: Any) -> dict[str, Any]:
    task = site.do("POST", f"vm/vm1/mirror/{action}", json=body)
    assert task["state"] == "SUCCESS", task
    return task


def mirror(site: Site) -> dict[str, Any]:
    return site.get("vm/vm1")["mirror"]


def test_a_machine_is_mirrored_handed_over_promoted_by_force_and_brought_back(sites: tuple[Site, Site]) -> None:
    east, west = sites
    east.define(UUID, "vm1", (SIZE,))
    write(east, 0)
    act(east, "create", peer="west", goal=120)
    there = mirror(west)
    assert (there["role"], there["peer"], there["epoch"]) == ("secondary", "east", 1)
    assert content(west.blocks, "vm1_disk0", there["snapshot"]) == content(east.blocks, "vm1_disk0", "")

    write(east, 1)
    act(east, "promote")
    assert (mirror(east)["role"], mirror(west)["role"]) == ("secondary", "primary")
    assert west.get("vm/vm1")["state"] == "stop"
    assert content(west.blocks, "vm1_disk0", "") == content(east.blocks, "vm1_disk0", "")

    write(west, 2)  # what the second site has alone when the first one is promoted by force
    alone = content(west.blocks, "vm1_disk0", "")
    assert east.do("POST", "vm/vm1/state", params={"state": "stop", "force": "true"})["state"] == "SUCCESS"
    assert mirror(east)["epoch"] == 3
    until(lambda: mirror(west)["role"] == "superseded" and west.get("vm/vm1")["state"] == "mirror", 60)
    refused = west.ask("POST", "vm/vm1/mirror/create", json={"peer": "east"})
    assert refused.status_code == 409, refused.text

    act(west, "resync")
    assert content(west.blocks, "vm1_disk0", "kept-2") == alone
    write(east, 3)
    act(east, "promote")
    assert mirror(west)["role"] == "primary"
    assert content(west.blocks, "vm1_disk0", "") == content(east.blocks, "vm1_disk0", "")
    assert mirror(west)["epoch"] == mirror(east)["epoch"] == 4
