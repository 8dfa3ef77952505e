"""Clocks that are wrong: the daemons of a cluster that heed the time of day are told another one (clock.c)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.cluster import Cluster
from lab.errors import run
from lab.service import Service

# The others do not care what time it is, or wait for a time of day, which would come an hour late.
TOLD = ("postgresql", "pvc-node", "pvc-control", "pvc-bulk", "pvc-beat", "pvc-web", "https")

_AHEAD = re.compile(r"([+-]?\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse(text: str) -> int:
    """Seconds of ``+1h``, ``-90s`` or the like. Raises ValueError."""
    match = _AHEAD.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is no difference of clocks: write it as +1h, -90s, 30m or 2d")
    return int(match[1]) * _SECONDS[match[2]]


def told(cluster: Cluster, services: Sequence[Service]) -> list[Service]:
    """The services of a cluster's host, by the cluster's clock."""
    if not cluster.clock:
        return list(services)
    library = cluster.state / "clock.so"
    if not library.exists():
        source, made = Path(__file__).with_name("clock.c"), library.with_suffix(".new")
        run("gcc", "-shared", "-fPIC", "-O2", f"-DAHEAD={cluster.clock}", "-o", str(made), str(source))
        made.rename(library)
    return [
        replace(service, environment={**service.environment, "LD_PRELOAD": str(library)})
        if service.name in TOLD
        else service
        for service in services
    ]
