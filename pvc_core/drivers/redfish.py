"""Power by DMTF Redfish, through ``curl``, which ends a call in time however slowly its answer trickles in.

The certificate of a BMC is not verified: nearly all sign their own, and a fence must not fail over one that has
expired. So the network of the BMCs has to be one that only the nodes are in."""

from __future__ import annotations

import base64
import time
from typing import TypeVar

import msgspec

from pvc_core.drivers import power_command
from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState

LIMIT = 9.0  # seconds for one call of the port, of which each has two or three requests
SYSTEMS = "/redfish/v1/Systems"
# By DSP0268. On its way down a machine may still write.
STATES = dict.fromkeys(("on", "poweringon", "poweringoff", "paused"), PowerState.ON) | {"off": PowerState.OFF}
NO_CONNECTION = {6, 7, 28, 35, 52, 55, 56}  # exit codes of curl: from "could not resolve" to "broke off"
REFUSED, BUSY = {401, 403}, {429, 503}


class _Link(msgspec.Struct):
    path: str = msgspec.field(name="@odata.id")


class _Systems(msgspec.Struct):
    members: list[_Link] = msgspec.field(name="Members")


class _Reset(msgspec.Struct):
    target: str
    kinds: list[str] = msgspec.field(name="ResetType@Redfish.AllowableValues", default_factory=list)


class _Actions(msgspec.Struct):
    reset: _Reset = msgspec.field(name="#ComputerSystem.Reset")


class _System(msgspec.Struct):
    power: str | None = msgspec.field(name="PowerState")
    actions: _Actions | None = msgspec.field(name="Actions", default=None)

    def state(self) -> PowerState:
        if (self.power or "").lower() not in STATES:
            raise DriverError(f"its PowerState is neither On nor Off: {self.power!r}")
        return STATES[(self.power or "").lower()]


Document = TypeVar("Document")


class Redfish:
    """One call to one BMC: the time for it begins here."""

    def __init__(self, bmc: Bmc, password: str) -> None:
        address = bmc.address if "://" in bmc.address else f"https://{bmc.address}"
        scheme, _, rest = address.partition("://")
        host, slash, path = rest.partition("/")
        self._base = f"{scheme}://{host}"
        self._system_path = (slash + path).rstrip("/")
        self._user = bmc.user
        self._token = base64.b64encode(f"{bmc.user}:{password}".encode()).decode()
        self._deadline = time.monotonic() + LIMIT

    def state(self) -> PowerState:
        return self._system().state()

    def off(self) -> None:
        self._switch("ForceOff", PowerState.OFF)

    def on(self) -> None:
        self._switch("On", PowerState.ON)

    def _switch(self, kind: str, wanted: PowerState) -> None:
        system = self._system()
        if system.state() is wanted:
            return  # many BMCs refuse to do what is done
        if system.actions is None:
            raise DriverError("its system has no action #ComputerSystem.Reset")
        reset = system.actions.reset
        if reset.kinds and kind not in reset.kinds:
            raise DriverError(f"its system knows no reset {kind}, only {', '.join(reset.kinds)}")
        self._request(reset.target, data=msgspec.json.encode({"ResetType": kind}).decode())

    def _system(self) -> _System:
        """The computer system that the address names, or the only one there is."""
        path = self._system_path
        if not path:
            members = self._document(SYSTEMS, _Systems).members
            if len(members) != 1:
                names = ", ".join(self._base + member.path for member in members) or "none"
                raise DriverError(f"it has not one system but {names}; give the address of the node's own")
            path = members[0].path
        return self._document(path, _System)

    def _document(self, path: str, kind: type[Document]) -> Document:
        try:
            return msgspec.json.decode(self._request(path), type=kind)
        except msgspec.DecodeError as error:
            raise DriverError(f"{path} is not what Redfish says: {error}") from None

    def _request(self, path: str, data: str | None = None) -> str:
        """The answer to GET, or to POST of ``data``."""
        if not path.startswith("/"):
            raise DriverError(f"it refers to {path!r}, which is no path")
        left = self._deadline - time.monotonic()
        argv = ["curl", "--disable", "--silent", "--show-error", "--globoff", "--noproxy", "*", "--insecure"]
        argv += ["--proto", "=http,https", "--max-time", f"{max(left, 0.1):.2f}", "--write-out", "\n%{http_code}"]
        argv += ["--header", "@-"]  # by standard input, since a command line is seen by everyone
        argv += [] if data is None else ["--data", data]
        headers = f"Authorization: Basic {self._token}\nAccept: application/json\nContent-Type: application/json\n"
        result = power_command.run([*argv, self._base + path], left + 0.5, stdin=headers)
        if result.returncode:
            kind = DriverUnavailable if result.returncode in NO_CONNECTION else DriverError
            raise kind(f"{path}: {result.stderr.strip()}")
        body, _, status = result.stdout.rpartition("\n")
        self._check(path, int(status))
        return body

    def _check(self, path: str, status: int) -> None:
        if status in REFUSED:
            raise DriverError(f"it refuses the user {self._user!r} or the password (HTTP {status})")
        if status in BUSY:
            raise DriverUnavailable(f"{path}: it is busy (HTTP {status})")
        if not 200 <= status < 300:
            raise DriverError(f"{path}: HTTP {status}")
