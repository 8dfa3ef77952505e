"""What the commands of ``pvc-lab`` share: which cluster they are about, and whose turn it is to change it."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import update_wrapper
from pathlib import Path
from typing import Any, TextIO

import click

from lab import cluster as plans
from lab import namespaces
from lab.cluster import Cluster
from lab.errors import LabError


def with_cluster(command: Callable[..., None]) -> Callable[..., None]:
    """Pass a command the cluster that the options name, and refuse when there is none."""

    @click.pass_context
    def wrapped(context: click.Context, /, **arguments: Any) -> None:
        name, state = context.obj
        cluster = plans.load(name, state)
        if cluster is None:
            raise click.ClickException(f"there is no cluster '{name}'; make it with: pvc-lab --cluster {name} up")
        command(cluster, **arguments)

    return update_wrapper(wrapped, command)


@contextmanager
def exclusive(state: Path, name: str) -> Iterator[None]:
    """Let one command at a time change a cluster. Raises LabError when another one does."""
    with _lock(state, f"{name}.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another pvc-lab command is at work on cluster {name}; wait until it has ended") from None
        yield


@contextmanager
def planning(state: Path) -> Iterator[None]:
    """Wait for a turn at planning or removing clusters, so that no two take the same subnets."""
    with _lock(state, "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lock(state: Path, name: str) -> TextIO:
    state.mkdir(parents=True, exist_ok=True)
    return (state / name).open("w")


def check_host(cluster: Cluster, host: str) -> None:
    if host not in cluster.hosts:
        raise LabError(f"there is no host '{host}' in cluster {cluster.name}; there are {', '.join(cluster.hosts)}")


def check_running(cluster: Cluster, host: str) -> None:
    check_host(cluster, host)
    if host not in namespaces.running(cluster):
        raise LabError(f"{host} is off; give it power with: pvc-lab --cluster {cluster.name} start {host}")
