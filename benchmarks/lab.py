"""How long the laboratory takes to come up, and the whole demo."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure, Goal
from lab import cluster as plans
from lab.cluster import Cluster

CLUSTER = "bench"
PORT = 7390
PVC_LAB = Path(sys.prefix) / "bin/pvc-lab"


def figures(with_demo: bool = False) -> Iterator[Figure]:
    with running() as (_, seconds):
        yield Figure("pvc-lab up --profile light", "s", seconds, goal=Goal(45))
    if with_demo:
        began = time.monotonic()
        try:
            _pvc_lab(CLUSTER, "demo")
            yield Figure("pvc-lab demo", "s", time.monotonic() - began, goal=Goal(600))
        finally:
            _pvc_lab(CLUSTER, "down")


@contextmanager
def running(name: str = CLUSTER, publish: int = PORT) -> Iterator[tuple[Cluster, float]]:
    """A cluster of the laboratory, new and only for this, with the seconds it took to come up; gone at the end."""
    _pvc_lab(name, "down")
    began = time.monotonic()
    try:
        _pvc_lab(name, "up", "--profile", "light", "--publish", str(publish))
        seconds = time.monotonic() - began
        cluster = plans.load(name, plans.DEFAULT_STATE)
        assert cluster is not None
        yield cluster, seconds
    finally:
        _pvc_lab(name, "down")


def _pvc_lab(cluster: str, *arguments: str) -> None:
    """Raises RuntimeError with the end of what it printed when it fails."""
    result = subprocess.run([str(PVC_LAB), "--cluster", cluster, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise RuntimeError(f"pvc-lab {arguments[0]} ended with {result.returncode}:\n{output[-3000:]}")
