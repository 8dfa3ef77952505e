"""How old a mirror's copy gets: sent once a minute for half an hour, under a guest that writes all the time."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError, URLError

from benchmarks.figures import Figure, Goal, from_samples
from benchmarks.lab import running
from benchmarks.picture import Line, draw
from lab import link
from lab.drive import Driver
from lab.writer import BLOCK_KIB, define, pattern_disks

DURATION = 30 * 60.0  # seconds
SAMPLE = 5.0  # seconds between two looks
WRITTEN = 5.0  # MB/s
LAG = 120.0  # seconds
LOAD_KIB, LOAD_MIB = 5120, 1024  # of what the guest writes beside the pattern, each second and in all
NAME, POOL, SCHEDULE = "writer", "mirrored", "minutely"
HTTPS_PORT = 7443
CLUSTERS = (("lageast", 7391), ("lagwest", 7392))
PICTURE = Path(__file__).parents[1] / "docs/manual/mirror-lag.svg"


def figures() -> Iterator[Figure]:
    """Draws the picture of the manual anew."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pvc-bench-")))
        os.environ["PVC_CLIENT_DIR"] = str(directory)  # the user's own connections stay as they are
        clusters = [stack.enter_context(running(name, port))[0] for name, port in CLUSTERS]
        line = link.between(*clusters)
        line.up()
        stack.callback(line.down)
        east, west = map(Driver, clusters)
        address = f"https://{west.cluster.floating('upstream').partition('/')[0]}:{HTTPS_PORT}/api/v1"
        east.pvc("peer", "add", "west", "-a", address, "-k", f"@{west.cluster.token_file}")
        for site in (east, west):
            site.pvc("storage", "pool", "add", POOL, "8", "--replcfg", "copies=1,mincopies=1")
        define(east, directory, f"{POOL}/{NAME}", disk_mib=64, load=(LOAD_MIB, LOAD_KIB))
        east.pvc("vm", "tag", "add", NAME, "mirrored")
        yield from _watch(east, west)


def _watch(east: Driver, west: Driver) -> Iterator[Figure]:
    when = ("--when", "1m", "--tag", "mirrored", "--goal", f"{LAG:g}")
    east.pvc("schedule", "mirror", "add", SCHEDULE, *when, "--peer", "west", "--keep", "2", "--peer-keep", "3")
    east.wait("the first copy", lambda: _lag(east), 300)
    first, began = _written(east), time.monotonic()
    lags: list[tuple[float, float]] = []
    while (now := time.monotonic() - began) < DURATION:
        with suppress(HTTPError, URLError):  # the age goes on to rise, and the next look sees it
            if (lag := _lag(east)) is None:
                raise RuntimeError("the mirror is gone")
            lags.append((now, lag))
        time.sleep(SAMPLE)
    rate = (_written(east) - first) / (time.monotonic() - began) / 1e6
    snapshot = west.vm(NAME)["mirror"]["snapshot"]
    images = [f"{disk}@{snapshot}" for disk in pattern_disks(f"{POOL}/{NAME}")]
    report = west.json_on("node1", sys.executable, "-m", "lab.pattern", "--block", str(BLOCK_KIB), *images)
    if report["wrong"]:
        raise RuntimeError(f"the copy is not whole: {report['wrong']}")
    draw(PICTURE, f"Age of the copy: a new one each minute, a guest that writes {rate:.1f} MB/s",
         ("minutes", "seconds"), [(at / 60, lag) for at, lag in lags], Line(LAG, "goal"))  # fmt: skip
    yield Figure("the guest writes", "MB/s", rate, goal=Goal(WRITTEN, at_least=True))
    yield from_samples("age of its copy", "s", [lag for _, lag in lags], Goal(LAG, of="worst"))
    yield Figure("  the worst of all", "s", max(lag for _, lag in lags), goal=Goal(LAG))


def _lag(site: Driver) -> float | None:
    mirror = site.vm(NAME)["mirror"]
    return mirror["lag_seconds"] if mirror else None


def _written(site: Driver) -> int:
    """Bytes that the guest has written to all its disks since it was started."""
    return sum(disk["wr_bytes"] for disk in site.vm(NAME)["disks"])
