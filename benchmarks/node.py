"""What the node daemon costs on the primary node, with a hundred machines."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.figures import Figure, Goal, from_samples
from benchmarks.lab import running
from benchmarks.web import Client, Site
from lab import namespaces
from lab.cluster import INFRA, Cluster
from lab.hosts import ZOOKEEPER_PORT
from pvc_core.config import TimingConfig

MACHINES = 100
START_LIMIT = 600.0  # seconds for all of them to run
CALM = 30.0  # seconds after the last start, in which the daemon writes what it saw
SAMPLES = 6
SAMPLE_SECONDS = 10.0


def figures() -> Iterator[Figure]:
    with running() as (cluster, _):
        node = _primary(cluster)
        _start_machines(cluster, node)
        time.sleep(CALM)
        _require_statistics(cluster)
        pid = _daemon(cluster, node)
        shares, writes = [], []
        for _ in range(SAMPLES):
            cpu, transactions, began = _cpu_seconds(pid), _transactions(cluster), time.monotonic()
            time.sleep(SAMPLE_SECONDS)
            elapsed = time.monotonic() - began
            intervals = elapsed / TimingConfig().keepalive_interval
            shares.append(100 * (_cpu_seconds(pid) - cpu) / elapsed)
            writes.append((_transactions(cluster) - transactions) / len(cluster.nodes) / intervals)
        yield Figure(
            f"pvc_node of the primary, resident with {MACHINES} machines", "MiB", _resident_mib(pid), goal=Goal(80)
        )
        yield from_samples("  of a core when nothing changes", "%", shares, Goal(3))
        yield from_samples("ZooKeeper writes per node and interval", "", writes, Goal(2, of="worst"))


def _primary(cluster: Cluster) -> str:
    """The primary node, whose daemon does more than the others': it also asks Ceph."""
    client = Client(Site(f"127.0.0.1:{cluster.publish}", cluster.token_file))
    primary = str(json.loads(client.get("/api/v1/status").body)["primary_node"])
    client.close()
    return primary


def _start_machines(cluster: Cluster, node: str) -> None:
    """Define and start the machines through the API, and wait until all of them run."""
    client = Client(Site(f"127.0.0.1:{cluster.publish}", cluster.token_file))
    names = [f"tiny{number:03d}" for number in range(MACHINES)]
    for name in names:
        _post(client, "/api/v1/vm", xml=_tiny_machine(name), node=node)
        _post(client, f"/api/v1/vm/{name}/state", state="start")
    deadline = time.monotonic() + START_LIMIT
    while (count := _running_domains(client, node)) < MACHINES:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {count} of {MACHINES} machines run after {START_LIMIT:g} s")
        time.sleep(1)
    client.close()


def _require_statistics(cluster: Cluster) -> None:
    """Raise RuntimeError unless the daemon reports the counters of every machine: else its figures say nothing."""
    client = Client(Site(f"127.0.0.1:{cluster.publish}", cluster.token_file))
    reported = sum(bool(shown["vcpu_stats"]) for shown in json.loads(client.get("/api/v1/vm").body))
    client.close()
    if reported != MACHINES:
        raise RuntimeError(f"the daemon reports the counters of {reported} machines, not of {MACHINES}")


def _post(client: Client, path: str, **parameters: str) -> None:
    answer = client.request("POST", f"{path}?{urlencode(parameters)}")
    if answer.status >= 300:
        raise RuntimeError(f"POST {path} answered {answer.status}: {answer.body.decode(errors='replace')[:300]}")


def _running_domains(client: Client, node: str) -> int:
    shown = json.loads(client.get(f"/api/v1/node/{node}").body)
    return int(shown["domains_count"])


def _tiny_machine(name: str) -> str:
    """A machine with nothing to boot from: its firmware says so and halts."""
    return f"""<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid.uuid4()}</uuid>
  <memory unit='MiB'>16</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
    <memballoon model='none'/>
  </devices>
</domain>"""


def _daemon(cluster: Cluster, node: str) -> int:
    """Process id of the node's daemon."""
    for pid, host in namespaces.processes(cluster):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if host == node and argv[1:3] == [b"-m", b"pvc_node"]:
            return pid
    raise RuntimeError(f"no pvc_node runs on {node}")


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1024**2


def _cpu_seconds(pid: int) -> float:
    """Processor time that the process has used, of all its threads, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _transactions(cluster: Cluster) -> int:
    """How many transactions ZooKeeper has seen: the lower half of its last transaction's id."""
    address = cluster.address(INFRA, "cluster")
    question = f"exec 3<>/dev/tcp/{address}/{ZOOKEEPER_PORT}; printf srvr >&3; cat <&3"
    argv = namespaces.enter(cluster, INFRA, ["bash", "-c", question])
    answer = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    zxid = next(line.split()[1] for line in answer.splitlines() if line.startswith("Zxid:"))
    return int(zxid, 16) & 0xFFFFFFFF
