"""A node whose power is switched through a BMC: the fake, a real ``ipmi_sim``, and a Redfish service over HTTPS."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import pytest

from lab import bmc as ipmi_sim
from pvc_core.drivers.power import BmcPower
from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.fakes.power import Behaviour, FakePower
from pvc_core.model.node import Bmc, BmcDriver
from pvc_core.ports import Power, PowerState
from tests.contract.worlds import eventually

ADDRESS = "127.0.0.1"
NODE = "node1"
USER = "operator"
SECRET = "sesame"
SYSTEMS = "/redfish/v1/Systems"
SYSTEM = f"{SYSTEMS}/437XR1138R2"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"


def refusal(power: Power, bmc: Bmc, node: str = NODE) -> str:
    """What a driver says of a state that it cannot have, now or later."""
    with pytest.raises(DriverError) as caught:
        power.state(node, bmc)
    assert not isinstance(caught.value, DriverUnavailable), caught.value
    return str(caught.value)


class Program:
    """Stands in a directory of $PATH before the real one, and does what a test wants."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def does(self, script: str) -> None:
        self._path.write_text(f"#!/bin/sh\n{script}\n")
        self._path.chmod(0o755)


class PowerWorld(Protocol):
    """``power`` is what is tested, ``bmc`` that of the node NODE."""

    power: Power
    bmc: Bmc

    @property
    def state(self) -> PowerState:
        """How the power really is."""

    def press(self, state: PowerState) -> None:
        """Switch it as a person does who stands before the node."""

    def silence(self) -> None:
        """Let the BMC take what is sent to it, and answer nothing."""

    def wake(self) -> None:
        """Let it answer again."""

    def deafen(self) -> None:
        """Let it take commands, and do nothing."""

    def close(self) -> None: ...


class FakePowerWorld:
    def __init__(self) -> None:
        self.power = FakePower()
        self.bmc = Bmc("192.0.2.1", USER)

    @property
    def state(self) -> PowerState:
        return self.power.states[NODE]

    def press(self, state: PowerState) -> None:
        self.power.states[NODE] = state

    def silence(self) -> None:
        self.power.behaviours[NODE] = Behaviour.SILENT

    def wake(self) -> None:
        self.power.behaviours[NODE] = Behaviour.OBEYS

    def deafen(self) -> None:
        self.power.behaviours[NODE] = Behaviour.DEAF

    def close(self) -> None:
        pass


class _BmcWorld:
    """What the real ones have in common: a directory, and the file with the password."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pvc-bmc-"))
        self.password = secrets.token_hex(8)
        self.passwords_file = self.directory / "bmc.secret"
        self.passwords_file.touch(mode=0o600)
        self.passwords_file.write_text(f"{NODE}: '{self.password}'\ndefault: 'wrong'\n")
        self.power: Power = BmcPower(str(self.passwords_file))

    def close(self) -> None:
        shutil.rmtree(self.directory)


class IpmiWorld(_BmcWorld):
    """The power is the content of a file."""

    def __init__(self) -> None:
        super().__init__()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
            chosen.bind((ADDRESS, 0))
            port = chosen.getsockname()[1]
        self.bmc = Bmc(f"{ADDRESS}:{port}", USER)
        self.press(PowerState.ON)
        self.control(
            'case "$1 $2" in',
            '"get power") echo "power:$(cat power)" ;;',
            '"set power") [ -e deaf ] || echo "$3" >power ;;',
            "esac",
        )
        program = ["/bin/sh", str(self.directory / "control")]
        ipmi_sim.write_configuration(
            self.directory, f"{ADDRESS} {port}", secrets.token_hex(16), USER, self.password, program
        )
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", *ipmi_sim.COMMAND],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(lambda: f":{port:04X} " in Path("/proc/net/udp").read_text())

    @property
    def state(self) -> PowerState:
        return PowerState.ON if (self.directory / "power").read_text().strip() == "1" else PowerState.OFF

    def press(self, state: PowerState) -> None:
        (self.directory / "power").write_text(f"{int(state is PowerState.ON)}\n")

    def control(self, *lines: str) -> None:
        """Let ipmi_sim run this script when it is asked for the power or told to switch it."""
        (self.directory / "control").write_text("\n".join(lines) + "\n")

    def silence(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def deafen(self) -> None:
        (self.directory / "deaf").touch()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        super().close()


class RedfishWorld(_BmcWorld):
    """A service with one system, as DSP0266 and DSP0268 describe it; its certificate is signed by itself.

    A test may set ``answers``, status and body by path, to be given instead of the right ones."""

    def __init__(self) -> None:
        super().__init__()
        self.state = PowerState.ON
        self.posted: list[dict[str, str]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self._deaf = False
        self._awake = threading.Event()
        self._awake.set()
        self._server = _serve(self, self._certificate())
        self.bmc = Bmc(f"{ADDRESS}:{self._server.server_port}", USER, BmcDriver.REDFISH)

    def system(self, power: str | None) -> str:
        kinds = {"target": RESET, "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"]}
        return json.dumps({"@odata.id": SYSTEM, "PowerState": power, "Actions": {"#ComputerSystem.Reset": kinds}})

    def press(self, state: PowerState) -> None:
        self.state = state

    def silence(self) -> None:
        self._awake.clear()

    def wake(self) -> None:
        self._awake.set()

    def deafen(self) -> None:
        self._deaf = True

    def close(self) -> None:
        self.wake()
        self._server.shutdown()
        self._server.server_close()
        super().close()

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, str]:
        """Status and body of the answer to a request."""
        self._awake.wait()
        if token != "Basic " + base64.b64encode(f"{USER}:{self.password}".encode()).decode():
            return 401, "{}"
        if path in self.answers:
            return self.answers[path]
        match method, path:
            case "GET", "/redfish/v1/Systems":
                return 200, json.dumps({"Members": [{"@odata.id": SYSTEM}], "Members@odata.count": 1})
            case "GET", "/redfish/v1/Systems/437XR1138R2":
                return 200, self.system(self.state.capitalize())
            case "POST", _ if path == RESET:
                return self._reset(json.loads(body))
        return 404, "{}"

    def _reset(self, wish: dict[str, str]) -> tuple[int, str]:
        wanted = {"ForceOff": PowerState.OFF, "On": PowerState.ON}[wish["ResetType"]]
        if wanted is self.state:
            return 400, '{"error": {"code": "InvalidOperationForSystemState"}}'
        self.posted.append(wish)
        self.state = self.state if self._deaf else wanted
        return 204, ""

    def _certificate(self) -> ssl.SSLContext:
        key, certificate = self.directory / "key.pem", self.directory / "certificate.pem"
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=bmc",
        ]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context


def _serve(world: RedfishWorld, context: ssl.SSLContext) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer = world.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer((ADDRESS, 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
