"""Nodes on one wire or one switch: network namespaces joined by veth pairs, and a way to act inside one of them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
TRUNK = "trunk"  # the link of each node that carries the bridged networks

_libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=20).stdout


@contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """Names of new network namespaces."""
    names = [f"pvctest-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    try:
        for name in names:
            ip("netns", "add", name)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=20, check=False)


@contextmanager
def switched_nodes(count: int) -> Iterator[list[str]]:
    """Names of network namespaces whose links ``trunk`` are on one switch, at 192.0.2.1/24 and fd00::1/64 and on."""
    with namespaces(count + 1) as (switch, *names):
        ip("-n", switch, "link", "add", "switch", "type", "bridge", "forward_delay", "0")
        ip("-n", switch, "link", "set", "switch", "up")
        for number, name in enumerate(names, 1):
            port = f"port{number}"
            ip("link", "add", "name", TRUNK, "netns", name, "type", "veth", "peer", "name", port, "netns", switch)
            ip("-n", switch, "link", "set", port, "master", "switch", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", TRUNK)
            ip("-n", name, "address", "add", f"fd00::{number}/64", "dev", TRUNK, "nodad")
            ip("-n", name, "link", "set", TRUNK, "up")
        yield names


@contextmanager
def wired_nodes(mtu: int) -> Iterator[tuple[str, str]]:
    """Names of two network namespaces, each with an end of one wire called ``trunk``."""
    with namespaces(2) as names:
        ends = [("name", TRUNK, "mtu", str(mtu), "netns", name) for name in names]
        ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for number, name in enumerate(names):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "address", "add", f"192.0.2.{number + 1}/24", "dev", TRUNK)
            ip("-n", name, "link", "set", TRUNK, "up")
        yield names[0], names[1]


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread, and the processes it starts, be in a network namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(Path("/run/netns", namespace))
        yield
    finally:
        _enter_descriptor(home)
        os.close(home)


def _enter(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _enter_descriptor(descriptor)
    finally:
        os.close(descriptor)


def _enter_descriptor(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
