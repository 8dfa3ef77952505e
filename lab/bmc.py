"""The nodes' BMCs: real IPMI over LAN by ``ipmi_sim``, each with a cable and a network namespace of its own.

To ask for the power or to switch it, ipmi_sim runs this module as a program, which does what ``pvc-lab kill`` and
``pvc-lab start`` do."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from lab import cluster as plans
from lab import namespaces, network, power
from lab.backing import tail
from lab.cluster import BMC_NETWORK, BMC_USER, Cluster
from lab.errors import LabError

PORT = 623
START_LIMIT = 15.0  # seconds
COMMAND = ("ipmi_sim", "-n", "-c", "lan.conf", "-f", "controller.conf", "-s", "state")


class Condition(StrEnum):
    OK = "ok"
    CUT = "cut"  # its cable is pulled out
    HANG = "hang"  # takes packets, and does not answer
    LIE = "lie"  # takes the command to switch, and does nothing
    DEAD = "dead"  # without power, as its node


def start(cluster: Cluster, node: str) -> None:
    """Start a node's BMC where it is not running, and wait until it listens; a cable pulled out stays so."""
    if _processes(cluster, node):
        return
    end, directory = cluster.bmc(node), _directory(cluster, node)
    network.connect(cluster, end)
    directory.mkdir(exist_ok=True)
    shutil.rmtree(directory / "state", ignore_errors=True)
    _write_configuration(cluster, node)
    log = directory / "ipmi_sim.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["nsenter", f"--net={network.NAMESPACES / network.namespace(cluster, end)}", *COMMAND],
            env=namespaces.environment(cluster, end),
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_LIMIT
    while f":{PORT:04X} " not in Path(f"/proc/{process.pid}/net/udp").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"the BMC of {node} did not start: {tail(log) or 'it said nothing'}")
        time.sleep(0.05)


def stop(cluster: Cluster, node: str) -> None:
    """End a node's BMC, and take its cable away; nothing is wrong when there is none."""
    namespaces.kill_bmc(cluster, node)
    network.disconnect(cluster, cluster.bmc(node))


def set_condition(cluster: Cluster, node: str, condition: Condition) -> None:
    """Bring a node's BMC into a condition, whatever it was in. It starts anew, and forgets what it was told before."""
    stop(cluster, node)
    network.set_cables(cluster, cluster.bmc(node), (BMC_NETWORK,), up=condition is not Condition.CUT)
    _lies(cluster, node).unlink(missing_ok=True)
    if condition is Condition.DEAD:
        return
    start(cluster, node)
    if condition is Condition.LIE:
        _lies(cluster, node).touch()
    if condition is Condition.HANG:
        for pid in _processes(cluster, node):
            _halt(pid)


def condition(cluster: Cluster, node: str) -> Condition:
    """What is wrong with a node's BMC."""
    states = [_state(pid) for pid in _processes(cluster, node)]
    if not states:
        return Condition.DEAD
    if "T" in states:
        return Condition.HANG
    if network.cut_networks(cluster, cluster.bmc(node)):
        return Condition.CUT
    return Condition.LIE if _lies(cluster, node).exists() else Condition.OK


def check_node(cluster: Cluster, node: str) -> None:
    """Raise LabError unless ``node`` has a BMC."""
    if not cluster.bmcs:
        raise LabError(f"cluster {cluster.name} has no BMCs; the profile full has them")
    if node not in cluster.bmcs:
        raise LabError(f"'{node}' has no BMC in cluster {cluster.name}; {', '.join(cluster.bmcs)} have one")


def control(cluster: Cluster, node: str, *request: str) -> int:
    """Answer ipmi_sim's request about the power as it expects: on standard output, and by the exit status."""
    match request:
        case "get", "power":
            print(f"power:{int(power.is_on(cluster, node))}")
        case "set", *_ if _lies(cluster, node).exists():
            pass
        case "set", "power", "0":
            power.power_off(cluster, node)
        case "set", "power", "1":
            power.power_on(cluster, node)
        case _:
            print(f"this BMC cannot {' '.join(request)}")
            return 1
    return 0


def _write_configuration(cluster: Cluster, node: str) -> None:
    directory, end = _directory(cluster, node), cluster.bmc(node)
    program = [sys.executable, "-m", "lab.bmc", str(cluster.state), node]
    identity = cluster.identity(end).replace("-", "")
    address = f"{cluster.address(end, BMC_NETWORK)} {PORT}"
    write_configuration(directory, address, identity, BMC_USER, cluster.secret("bmc"), program)


def write_configuration(
    directory: Path, address: str, identity: str, user: str, password: str, program: Sequence[str]
) -> None:
    """Write the files for COMMAND, which is to be run in ``directory``: one BMC at ``address`` (IP address and port),
    with ``identity`` (32 hexadecimal digits) as its GUID. It calls ``program`` with ``get power`` or ``set power 0|1``
    added."""
    (directory / "state").mkdir()
    lan = directory / "lan.conf"
    lan.touch(mode=0o600)  # there is a password in it
    levels = "".join(f"allowed_auths_{level} md5\n" for level in ("callback", "user", "operator", "admin"))
    lan.write_text(
        'name "bmc"\n'
        "set_working_mc 0x20\n"
        f"startlan 1\naddr {address}\npriv_limit admin\n{levels}guid {identity}\nendlan\n"
        f'chassis_control "{shlex.join(program)}"\n'
        f'user 2 true "{user}" "{password}" admin 10 md5\n'
    )
    (directory / "controller.conf").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"
    )


def _directory(cluster: Cluster, node: str) -> Path:
    return cluster.state / cluster.bmc(node)


def _lies(cluster: Cluster, node: str) -> Path:
    """A file that exists as long as the BMC only pretends to switch."""
    return _directory(cluster, node) / "lies"


def _processes(cluster: Cluster, node: str) -> list[int]:
    return [pid for pid, end in namespaces.processes(cluster) if end == cluster.bmc(node)]


def _halt(pid: int) -> None:
    """Stop a process, and wait until it stands: the signal takes effect when the process is next given a core."""
    os.kill(pid, signal.SIGSTOP)
    while _state(pid) not in ("T", ""):
        time.sleep(0.01)


def _state(pid: int) -> str:
    """The kernel's letter for what a process does, T for stopped; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""


def main(state: str, node: str, *request: str) -> int:
    cluster = plans.load(Path(state).name, Path(state).parent)
    if cluster is None:
        print(f"there is no cluster in {state}")
        return 1
    return control(cluster, node, *request)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
