"""How long ``pvc`` takes as a whole process, from the shell's point of view."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import synthetic, web
from benchmarks.figures import Figure, Goal, from_samples
from lab.local import LocalServices

RUNS = 20
MACHINES = 1_000

# What a listing cannot do without: the interpreter, click, one request and its decoding.
_LEAST_LIST = """
import http.client, json, sys, click
connection = http.client.HTTPConnection(sys.argv[1])
connection.request("GET", "/api/v1/vm", headers={"X-Api-Key": open(sys.argv[2]).read().strip()})
answer = json.loads(connection.getresponse().read())
assert len(answer) == int(sys.argv[3])
"""


def figures() -> Iterator[Figure]:
    interpreter = _time([sys.executable, "-c", "pass"])
    click = _time([sys.executable, "-c", "import click"])
    yield from_samples("python -c pass", "ms", interpreter)
    yield from_samples("pvc --help", "ms", _time([_pvc(), "--help"]), Goal(120), click)
    yield from_samples("pvc vm --help", "ms", _time([_pvc(), "vm", "--help"]), Goal(120), click)
    with (
        LocalServices() as services,
        synthetic.running(services.zookeeper, MACHINES),
        web.api(services) as site,
    ):
        host, _, port = site.address.partition(":")
        variables = {"PVC_CLIENT_DIR": str(services.directory / "client")}
        add = ["connection", "add", "bench", "-a", host, "-p", port, "-k", f"@{site.token_file}"]
        subprocess.run([_pvc(), *add], env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)
        least = [sys.executable, "-c", _LEAST_LIST, site.address, str(site.token_file), str(MACHINES)]
        listing = _time([_pvc(), "vm", "list"], **variables)
        yield from_samples(f"pvc vm list, {MACHINES:,} machines", "ms", listing, Goal(400), _time(least))


def _pvc() -> str:
    return str(Path(sys.prefix) / "bin/pvc")


def _time(argv: Sequence[str], **variables: str) -> list[float]:
    """Milliseconds of each of a row of runs, after one that warms the files up."""
    samples = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        result = subprocess.run(argv, env=os.environ | variables, capture_output=True)
        samples.append((time.perf_counter() - began) * 1000)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(argv[:3])} ended with {result.returncode}: {result.stderr.decode().strip()}")
    return samples[1:]
