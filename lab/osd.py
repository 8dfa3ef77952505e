"""Starts and stops the daemons of OSDs inside a host, as systemd does on a server: the ``start`` and ``stop`` of
``ceph.osd`` in the host's pvc.conf. ``python -m lab.osd start|stop ID DATA KEPT``, where ``KEPT`` is the directory of
the services that the host starts when it boots."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path

from lab.ceph import GROUP
from lab.errors import run
from lab.namespaces import SERVICES

CONFIGURATION = "/etc/ceph/ceph.conf"


def command(verb: str, data: str, kept: Path) -> list[str]:
    """What stands in a host's pvc.conf."""
    return [sys.executable, "-m", "lab.osd", verb, "{id}", data, str(kept)]


def start(osd: str, data: str, kept: Path) -> None:
    daemon = ["ceph-osd", "-c", CONFIGURATION, "--id", osd, "--osd-data", f"{data}/ceph-{osd}", "-f"]
    argv = ["setpriv", f"--regid={GROUP}", "--clear-groups", *daemon]
    script = f"#!/bin/sh\nexec >>/var/log/{_name(osd)}.log 2>&1\nexec {shlex.join(argv)}\n"
    for services in (kept, Path(SERVICES)):
        made = services / f".{_name(osd)}"  # runsvdir leaves it alone until it is complete
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        (made / "run").write_text(script)
        (made / "run").chmod(0o755)
        if (services / _name(osd)).exists():
            shutil.rmtree(made)
        else:
            made.rename(services / _name(osd))
    while not (Path(SERVICES) / _name(osd) / "supervise" / "ok").exists():  # runsvdir looks every few seconds
        time.sleep(0.1)
    run("sv", "up", _name(osd))


def stop(osd: str, data: str, kept: Path) -> None:  # noqa: ARG001 - takes what start takes
    shutil.rmtree(kept / _name(osd), ignore_errors=True)
    if (Path(SERVICES) / _name(osd)).exists():
        run("sv", "-w", "60", "force-stop", _name(osd))
        run("sv", "exit", _name(osd))
        shutil.rmtree(Path(SERVICES) / _name(osd))


def _name(osd: str) -> str:
    return f"ceph-osd-{osd}"


if __name__ == "__main__":
    verb, osd, data, kept = sys.argv[1:]
    {"start": start, "stop": stop}[verb](osd, data, Path(kept))
