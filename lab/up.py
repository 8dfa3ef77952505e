"""Bringing a cluster up, part by part until it is healthy, and taking it down."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from lab import bmc, disks, hosts, kernel, link, loops, namespaces, network, power
from lab.backing import tail
from lab.cluster import Cluster
from lab.errors import LabError, run, succeeds
from lab.progress import Progress
from lab.service import Service

READY_LIMIT = 90.0  # seconds for one part to answer
PUBLISHER = "publish"  # stands for a host in the mark of the process that publishes the web address


class Startup:
    """One run of ``up`` or ``start``: its steps go on side by side, and the first that fails ends all."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.progress = Progress()
        self._given_up = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=64)

    def up(self) -> None:
        """Start what of the cluster is not running, and return once all of it is healthy.

        Raises LabError naming the part that did not come up, with the end of its log; what was started stays up.
        """
        cluster = self.cluster
        with self.progress.step("bridges and links"):
            prepare(cluster)
        others = {host: hosts.services(cluster, host) for host in cluster.hosts if host not in cluster.nodes}
        booting = [self._pool.submit(self._up_host, host, others[host]) for host in others]
        booting += [self._pool.submit(self._start_bmc, node) for node in cluster.bmcs]
        try:
            with self.progress.step("guest kernel, and how this machine runs it"):
                domain_type = kernel.domain_type()
            nodes = {node: hosts.services(cluster, node, domain_type) for node in cluster.nodes}
            self._all([*booting, *(self._pool.submit(self._up_host, node, nodes[node]) for node in nodes)])
            with self.progress.step("tables and the first user"):
                _prepare_database(cluster)
            self._all([self._pool.submit(self._release, node, nodes[node]) for node in nodes])
            with self.progress.step(f"published on 127.0.0.1:{cluster.publish}, and known to pvc as '{cluster.name}'"):
                self._publish()
                _add_connection(cluster)
            self._await_nodes(cluster.nodes)
        except BaseException:
            self._give_up()
            raise

    def start(self, host: str) -> None:
        """Give a host that was killed its power back, and return when it takes part in the cluster again."""
        if power.is_on(self.cluster, host):
            raise LabError(f"{host} is running already")
        try:
            if host in self.cluster.bmcs:
                self._start_bmc(host)
            self._boot(host)
            self._await_services(host, hosts.services(self.cluster, host))
            if host in self.cluster.nodes:
                self._await_nodes((host,))
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._given_up.set()
        self._pool.shutdown(cancel_futures=True)

    def _all(self, futures: Sequence[Future[None]]) -> None:
        """Wait for all of the steps, or raise what the first one that fails raises."""
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()

    def _start_bmc(self, node: str) -> None:
        with self.progress.step(f"{node}: BMC"):
            bmc.start(self.cluster, node)

    def _up_host(self, host: str, services: Sequence[Service]) -> None:
        """Boot a host that is not running, and wait for those of its services that need no database."""
        if not power.is_on(self.cluster, host):
            self._boot(host, hold=hosts.PVC_SERVICES)
        elif namespaces.is_paused(self.cluster, host):
            raise LabError(f"{host} is paused; let it go on with: pvc-lab --cluster {self.cluster.name} resume {host}")
        self._await_services(host, [service for service in services if service.name not in hosts.PVC_SERVICES])

    def _release(self, host: str, services: Sequence[Service]) -> None:
        namespaces.release(self.cluster, host)
        self._await_services(host, [service for service in services if service.name in hosts.PVC_SERVICES])

    def _boot(self, host: str, hold: Sequence[str] = ()) -> None:
        with self.progress.step(f"{host}: power on"):
            power.power_on(self.cluster, host, hold=hold)

    def _await_services(self, host: str, services: Sequence[Service]) -> None:
        """Wait until each of a host's services answers. Raises LabError for the first that does not."""

        def await_service(service: Service) -> None:
            with self.progress.step(f"{host}: {service.name}"):
                log = self.cluster.log(host, service.name)
                self._wait(f"{service.name} on {host}", lambda: self._answers(host, service), log)

        self._all([self._pool.submit(await_service, service) for service in services])

    def _answers(self, host: str, service: Service) -> bool:
        try:
            return succeeds(namespaces.enter(self.cluster, host, service.ready))
        except LabError:
            return False  # a BMC that fences it has switched it off, and on again in a moment

    def _await_nodes(self, nodes: Sequence[str]) -> None:
        log = self.cluster.log(nodes[0], "pvc-node")
        with self.progress.step(f"{', '.join(nodes)} in state run"):
            self._wait("a node's daemon", lambda: _nodes_run(self.cluster, nodes), log)

    def _publish(self) -> None:
        """Lead the published port to the nodes' web servers, and wait until it does."""
        cluster = self.cluster
        log = cluster.state / "publish.log"
        if not _is_published(cluster):
            targets = [f"{cluster.address(node, 'upstream')}:{hosts.WEB_PORT}" for node in cluster.coordinators]
            with log.open("ab") as output:
                subprocess.Popen(
                    [sys.executable, "-m", "lab.publish", f"127.0.0.1:{cluster.publish}", *targets],
                    env=namespaces.environment(cluster, PUBLISHER),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        self._wait("the published address", lambda: _ask(cluster, "") is not None, log)

    def _wait(self, what: str, ready: Callable[[], bool], log: Path) -> None:
        deadline = time.monotonic() + READY_LIMIT
        while not ready():
            if time.monotonic() > deadline:
                last_words = tail(log) or "(nothing)"
                raise LabError(f"{what} did not come up within {READY_LIMIT:g} s; the end of {log}:\n{last_words}")
            if self._given_up.wait(0.25):
                raise LabError(f"{what}: not waited for any longer")


def prepare(cluster: Cluster) -> None:
    """Make what hosts and BMCs are plugged into, and what the hosts are mounted on."""
    namespaces.create_mount_points(_mount_points(cluster))
    network.create_switch(cluster)


def down(cluster: Cluster) -> None:
    """Take everything of the cluster away, however much or little of it there is."""
    for line in link.of(cluster):
        line.down()
    for node in cluster.bmcs:
        bmc.stop(cluster, node)  # which might give its node power
    for host in cluster.hosts:
        network.disconnect(cluster, host)
    namespaces.kill_all(cluster)
    disks.remove_all(cluster)
    network.remove_switch(cluster)
    loops.detach_orphans()
    succeeds(_pvc("connection", "remove", cluster.name))
    if not any(namespaces.processes()):  # of another cluster, whose mounts would go with the directories
        namespaces.remove_mount_points(_mount_points(cluster))
    shutil.rmtree(cluster.state)


def _pvc(*arguments: str) -> list[str]:
    """Command line of this installation's ``pvc``."""
    return [str(Path(sys.prefix, "bin/pvc")), *arguments]


def _add_connection(cluster: Cluster) -> None:
    """Tell ``pvc``, as the present user runs it, of the cluster and of where its token is."""
    where = ("-a", "127.0.0.1", "-p", str(cluster.publish), "-k", f"@{cluster.token_file}")
    run(*_pvc("connection", "add", cluster.name, *where))


def _mount_points(cluster: Cluster) -> Path:
    return cluster.state.parent / "mount-points"


def _prepare_database(cluster: Cluster) -> None:
    """Make the tables, and the first user with a token; both are left as they are where they exist."""
    manage = shlex.join([sys.executable, str(namespaces.CHECKOUT / "manage.py")])
    admin = shlex.join(
        ["--username", "admin", "--password-file", str(cluster.password_file), "--token-file", str(cluster.token_file)]
    )
    script = f"{manage} migrate --noinput && {manage} create_admin {admin}"
    run(*namespaces.enter(cluster, cluster.coordinators[0], ["sh", "-c", script]))


def _nodes_run(cluster: Cluster, nodes: Sequence[str]) -> bool:
    """Whether the API lists each of ``nodes`` as running."""
    states = {node["name"]: node["daemon_state"] for node in _ask(cluster, "node") or []}
    return all(states.get(node) == "run" for node in nodes)


def _ask(cluster: Cluster, path: str) -> Any:
    """The API's answer to GET ``path`` at the published address; None as long as it does not answer well."""
    url = f"http://127.0.0.1:{cluster.publish}/api/v1/{path}"
    request = urllib.request.Request(url, headers={"X-Api-Key": cluster.token_file.read_text().strip()})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def _is_published(cluster: Cluster) -> bool:
    return any(host == PUBLISHER for _, host in namespaces.processes(cluster))


def check_port(cluster: Cluster) -> None:
    """Raise LabError when another program has the port that the cluster is to be published on."""
    if _is_published(cluster):
        return
    try:
        socket.create_server(("127.0.0.1", cluster.publish)).close()
    except OSError as error:
        raise LabError(
            f"port {cluster.publish} of 127.0.0.1 cannot be had ({os.strerror(error.errno or 0)}); nothing was made. "
            "Choose another with --publish, or make demo PUBLISH=..."
        ) from None
