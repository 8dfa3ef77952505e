"""Power by IPMI over LAN, version 2.0, through ``ipmitool``; the patterns match what version 1.8.19 prints."""

from __future__ import annotations

import re
import time

from pvc_core.drivers import power_command
from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.model.node import Bmc
from pvc_core.ports import PowerState

PORT = "623"
LIMIT = 9.0  # seconds for one call, whatever becomes of it
# The second try after one second, the end two seconds later; and that twice, since ipmitool asks for version 1.5 then.
PACE = ("-N", "1", "-R", "2")
# 17 (SHA-256) where the BMC has it, else 3 (SHA-1), which the standard demands of all. A refusal comes at once, whereas
# ipmitool's own question for the best one costs three seconds where the BMC does not answer it.
CIPHER_SUITES = ("17", "3")
SUITE_REFUSED = "open session response"

STATE = re.compile(r"chassis power is (on|off)\b", re.IGNORECASE)
SILENT = re.compile(r"unable to (establish|get|set)|could not open socket", re.IGNORECASE)
SUPERFLUOUS = "not supported in present state"  # so some answer who are told to switch off what is off


class Ipmi:
    """One BMC."""

    def __init__(self, bmc: Bmc, password: str) -> None:
        self._user = bmc.user
        self._host, self._port = split_address(bmc.address)
        self._password = password

    def state(self) -> PowerState:
        output, complaint = self._call("status")
        found = STATE.search(output)
        if found is None:
            raise self._failure(complaint, output)
        return PowerState(found[1].lower())

    def off(self) -> None:
        self._switch("off")

    def on(self) -> None:
        self._switch("on")

    def _switch(self, action: str) -> None:
        output, complaint = self._call(action)
        if "chassis power control:" not in output.lower() and SUPERFLUOUS not in complaint.lower():
            raise self._failure(complaint, output)

    def _call(self, action: str) -> tuple[str, str]:
        """What ipmitool prints, and what it complains of."""
        deadline = time.monotonic() + LIMIT
        output = complaint = ""
        for suite in CIPHER_SUITES:
            argv = ["ipmitool", "-v", "-I", "lanplus", "-H", self._host, "-p", self._port, "-U", self._user, "-E"]
            argv += ["-L", "OPERATOR", "-C", suite, *PACE, "chassis", "power", action]
            left = deadline - time.monotonic()
            result = power_command.run(argv, left, environment={"IPMI_PASSWORD": self._password})
            output, complaint = result.stdout, result.stderr
            if SUITE_REFUSED not in complaint.lower():
                break
        return output, complaint

    def _failure(self, complaint: str, output: str) -> DriverError:
        lines = [line.strip(" >") for line in complaint.splitlines() if line.strip()]

        def line(*words: str) -> str:
            return next((line for line in lines if any(word in line for word in words)), "")

        if line("insufficient resources"):
            return DriverUnavailable("it has no session to spare")
        if detail := line("RAKP"):
            return DriverError(f"it refuses the user {self._user!r} or the password ({detail})")
        if detail := line("open session response", "failed:", "longer than"):
            return DriverError(detail)
        if SILENT.search(complaint):
            return DriverUnavailable(line("lookup") or "it does not answer")
        said = (output.strip() or " ".join(lines) or "nothing")[:200]
        return DriverError(f"what ipmitool says of it is neither on nor off: {said!r}")


def split_address(address: str) -> tuple[str, str]:
    """Host and port of ``host``, ``host:port``, ``[IPv6]:port`` or a bare IPv6 address."""
    found = re.fullmatch(r"\[(?P<ipv6>[^]]+)\](:(?P<port>\d+))?|(?P<host>[^:]+):(?P<number>\d+)", address)
    if found is None:
        return address, PORT
    return found["ipv6"] or found["host"], found["port"] or found["number"] or PORT
