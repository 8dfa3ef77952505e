"""Driving a laboratory cluster as its users do: through ``pvc``, the API, and what a guest prints on its console."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError

from lab import namespaces
from lab.cluster import Cluster
from lab.errors import LabError

T = TypeVar("T")
PVC = str(Path(sys.executable).with_name("pvc"))
SERVICE_UNAVAILABLE = 503
MARK_LINES = 50
SHOWN_LINES = 30
POLL = 0.2  # seconds between two looks at something that only a request can show


class Driver:
    """One user of one cluster. Everything raises LabError with what was asked and what came back."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def pvc(self, *arguments: str, timeout: float = 300) -> str:
        """Run a ``pvc`` command to its end and answer what it printed."""
        argv = [PVC, "-c", self.cluster.name, "-q", *arguments]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise LabError(f"pvc {' '.join(arguments)}: no end within {timeout:g} s") from None
        if done.returncode != 0:
            raise LabError(f"pvc {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.pvc(*arguments, "-f", "json"))

    def api(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """One request to the published API; raises urllib's HTTPError for a status of 400 and more."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.cluster.publish}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "X-Api-Key": self.cluster.token_file.read_text().strip(),
                "Content-Type": "application/json",
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        with urllib.request.urlopen(request, timeout=90) as response:
            return json.loads(response.read() or b"null")

    def vm(self, name: str) -> dict[str, Any]:
        return dict(self.api("GET", f"/vm/{name}"))

    def console(self, name: str, lines: int = 500) -> str:
        return str(self.api("GET", f"/vm/{name}/console?lines={lines}")["data"])

    def console_mark(self, name: str) -> str:
        """The console's last lines so far, without the very last, which may come to be longer: what comes after them is
        new, but for that one. They are many, since a machine that boots anew says much again."""

        def look() -> list[str]:
            return self.console(name, MARK_LINES).removesuffix("\n").split("\n")

        return "\n".join(self.wait(f"the console of {name}", look, 30)[:-1])

    def wait_console(self, name: str, pattern: str, timeout: float = 120, after: str = "") -> re.Match[str]:
        """Wait until the console shows ``pattern`` (a regular expression), beyond the mark ``after`` if it has that."""

        def look() -> re.Match[str] | None:
            text = self.console(name, 1000)
            return re.search(pattern, text.rpartition(f"{after}\n")[2] if after else text, re.MULTILINE)

        try:
            return self.wait(f"{pattern!r} on the console of {name}", look, timeout)
        except LabError as error:
            raise LabError(f"{error}; it ends with:\n{self.console(name, SHOWN_LINES)}") from None

    def wait_state(self, name: str, state: str, timeout: float = 60) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            vm = self.vm(name)
            return vm if vm["state"] == state else None

        return self.wait(f"{name} in state {state}", look, timeout)

    def wait(self, what: str, look: Callable[[], T | None], timeout: float) -> T:
        """The first true answer of ``look``, asked again until ``timeout`` seconds have passed. A part that does not
        answer is one that may come back."""
        deadline = time.monotonic() + timeout
        while True:
            reason = ""
            try:
                if found := look():
                    return found
            except HTTPError as error:
                if error.code != SERVICE_UNAVAILABLE:
                    raise
                reason = f": {error.read().decode()}"
            except (OSError, HTTPException) as error:  # the server that was asked has just died
                reason = f": {error}"
            if time.monotonic() > deadline:
                raise LabError(f"waited {timeout:g} s in vain for {what}{reason}")
            time.sleep(POLL)

    def on_host(self, host: str, *command: str, timeout: float = 60) -> str:
        """Output of a command inside a host."""
        argv = namespaces.enter(self.cluster, host, list(command))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)} on {host}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def json_on(self, host: str, *command: str) -> Any:
        """Output of a command inside a host that prints JSON."""
        return json.loads(self.on_host(host, *command))

    def qemu_pid(self, host: str, uuid: str) -> int | None:
        """Process id, as the host counts, of the QEMU that runs a machine."""
        found = [line for line in self.on_host(host, "ps", "-eo", "pid,args").splitlines() if f"uuid {uuid}" in line]
        return int(found[0].split()[0]) if found else None
