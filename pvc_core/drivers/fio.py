"""Measurements by ``fio``, which speaks to RBD by Ceph's own library, as QEMU does."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvc_core.config import CephConfig
from pvc_core.errors import DriverError
from pvc_core.model.benchmark import BenchmarkTest, Figures, Latency

TICK = 0.5  # seconds
GRACE = 120.0  # seconds that a measurement may take longer than it should, to begin and to end
PERCENTILES = {"50.000000": "median", "95.000000": "p95", "99.000000": "p99"}


class FioBench:
    """See ``pvc_core.ports.Bench``."""

    def __init__(self, config: CephConfig) -> None:
        self._config = config

    def fill(self, pool: str, volume: str, tick: Callable[[float], None]) -> None:
        test = BenchmarkTest("fill", "write", "4M", 16)
        # How far it is cannot be seen from outside; a pool that takes a day is not one to be measured.
        self._run([*self._command(pool, volume, test), "--refill_buffers"], 24 * 3600.0, tick, known=False)

    def measure(
        self, pool: str, volume: str, test: BenchmarkTest, seconds: int, tick: Callable[[float], None]
    ) -> Figures:
        timed = ["--time_based", f"--runtime={seconds}"]
        return parse(self._run([*self._command(pool, volume, test), *timed], float(seconds), tick), test)

    def _command(self, pool: str, volume: str, test: BenchmarkTest) -> list[str]:
        return [
            "fio",
            f"--name={test.name}",
            "--ioengine=rbd",
            f"--clientname={self._config.user}",
            f"--pool={pool}",
            f"--rbdname={volume}",
            f"--rw={test.pattern}",
            f"--bs={test.block_size}",
            f"--iodepth={test.depth}",
            "--direct=1",
            "--output-format=json",
            "--percentile_list=50:95:99",
        ]

    def _run(self, command: list[str], seconds: float, tick: Callable[[float], None], *, known: bool = True) -> Any:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    env=self._environment(),
                )
            except OSError as error:
                raise DriverError(f"fio cannot be run: {error.strerror}") from None
            try:
                self._follow(process, seconds, tick, known)
            finally:
                process.kill()
                process.wait()
            output.seek(0)
            errors.seek(0)
            if process.returncode != 0:
                raise DriverError(f"fio: {_last_line(errors.read() or output.read())}")
            return json.loads(_document(output.read().decode()))

    def _follow(
        self, process: subprocess.Popen[bytes], seconds: float, tick: Callable[[float], None], known: bool
    ) -> None:
        began = time.monotonic()
        while True:
            try:
                process.wait(TICK)
                return
            except subprocess.TimeoutExpired:
                spent = time.monotonic() - began
            if spent > seconds + GRACE:
                raise DriverError(f"fio did not end within {seconds + GRACE:.0f} s")
            tick(min(1.0, spent / seconds) if known else 0.0)

    def _environment(self) -> dict[str, str]:
        """fio takes Ceph's configuration from where the library looks by itself."""
        keyring = self._config.keyring
        found = {"CEPH_KEYRING": keyring} if Path(keyring).exists() else {}
        return {**os.environ, "CEPH_CONF": self._config.config_file, **found}


def parse(report: Any, test: BenchmarkTest) -> Figures:
    """fio's report of one measurement."""
    job = report["jobs"][0]
    side = job["read" if "read" in test.pattern else "write"]
    latency, completion = side["lat_ns"], side["clat_ns"].get("percentile", {})
    percentiles = {name: completion.get(key, 0) / 1000 for key, name in PERCENTILES.items()}
    return Figures(
        bandwidth=float(side["bw_bytes"]),
        iops=float(side["iops"]),
        latency=Latency(mean=latency["mean"] / 1000, max=latency["max"] / 1000, **percentiles),
        bytes=int(side["io_bytes"]),
        seconds=side["runtime"] / 1000,
    )


def _document(text: str) -> str:
    """fio prints notes of its own before the report."""
    return text[text.index("{") :] if "{" in text else text


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
