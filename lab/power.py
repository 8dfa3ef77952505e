"""A host's power, as its BMC or a person switches it: one at a time, and without asking the host."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lab import hosts, kernel, namespaces
from lab.cluster import Cluster


def is_on(cluster: Cluster, host: str) -> bool:
    """Whether a host has power; while it is being switched, that is not known, and waited for."""
    with _switch(cluster, host):
        return _is_on(cluster, host)


def _is_on(cluster: Cluster, host: str) -> bool:
    return host in namespaces.running(cluster)


def power_off(cluster: Cluster, host: str) -> None:
    """All of a host's processes die at once, and its network with them. Nothing is wrong when it is off."""
    with _switch(cluster, host):
        namespaces.kill(cluster, host)


def power_on(cluster: Cluster, host: str, *, hold: Sequence[str] = ()) -> None:
    """Boot a host that is off, with the disk it had; its services are not waited for, and those in ``hold`` held back.

    Nothing is done when it is on.
    """
    with _switch(cluster, host):
        if not _is_on(cluster, host):
            _boot(cluster, host, hold)


def reset(cluster: Cluster, host: str) -> None:
    """What a kernel does after a panic: all dies at once, and the host boots anew by itself."""
    with _switch(cluster, host):
        namespaces.kill(cluster, host)
        _boot(cluster, host)


def _boot(cluster: Cluster, host: str, hold: Sequence[str] = ()) -> None:
    domain_type = kernel.domain_type() if host in cluster.nodes else "qemu"
    namespaces.start(cluster, host, hosts.services(cluster, host, domain_type), hold=hold)


@contextmanager
def _switch(cluster: Cluster, host: str) -> Iterator[None]:
    """Wait for a turn at the host's switch: a BMC and a person may press it at the same time."""
    directory = cluster.state / host
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "power.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
