"""Snapshots of RBD images."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rbd

from pvc_core.drivers.ceph_connection import CephConnection, driver_error, translated
from pvc_core.drivers.ceph_image import opened
from pvc_core.drivers.ceph_volume import MOMENT_PREFIX
from pvc_core.errors import Conflict

_PERCENT = re.compile(rb"(\d+)% complete")


def create(ceph: CephConnection, pool: str, name: str, snapshot: str) -> None:
    with _changed(ceph, pool, name, snapshot) as image:
        image.create_snap(snapshot)


def remove(ceph: CephConnection, pool: str, name: str, snapshot: str) -> None:
    with _changed(ceph, pool, name, snapshot) as image:
        if image.is_protected_snap(snapshot):
            raise Conflict(f"snapshot {pool}/{name}@{snapshot} is protected")
        image.remove_snap(snapshot)


def rename(ceph: CephConnection, pool: str, name: str, snapshot: str, new_name: str) -> None:
    with _changed(ceph, pool, name, snapshot) as image:
        if any(found["name"] == new_name for found in image.list_snaps()):
            raise Conflict(f"snapshot {pool}/{name}@{new_name} exists already in Ceph")
        image.rename_snap(snapshot, new_name)


def protect(ceph: CephConnection, pool: str, name: str, snapshot: str, protected: bool) -> None:
    with _changed(ceph, pool, name, snapshot) as image:
        if image.is_protected_snap(snapshot) == protected:
            return
        if protected:
            image.protect_snap(snapshot)
        else:
            image.unprotect_snap(snapshot)


def rollback(ceph: CephConnection, pool: str, name: str, snapshot: str, progress: Callable[[int, int], None]) -> None:
    """By the command of Ceph, since its bindings report no progress."""
    with opened(ceph, pool, name, snapshot=snapshot) as image:
        total = image.size()
    client = ["rbd", "--conf", ceph.config.config_file, "--id", ceph.config.user]
    command = [*client, "snap", "rollback", "--pool", pool, "--image", name, "--snap", snapshot]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ceph.environment(),
    )
    assert process.stderr is not None
    words = b""
    with process.stderr:
        try:
            while part := os.read(process.stderr.fileno(), 4096):
                words = (words + part)[-4096:]
                if percents := _PERCENT.findall(part):
                    progress(total * int(percents[-1]) // 100, total)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        text = words.decode(errors="replace").strip().splitlines()
        raise driver_error(f"rollback of volume {pool}/{name}", process.returncode, text[-1] if text else "")
    progress(total, total)


@contextmanager
def moment(ceph: CephConnection, pool: str, name: str) -> Iterator[str]:
    """A snapshot of the image for as long as the context lasts, so that a copy is of one moment."""
    forget_moments(ceph, pool, name)
    snapshot = f"{MOMENT_PREFIX}{uuid.uuid4()}"
    create(ceph, pool, name, snapshot)
    try:
        yield snapshot
    finally:
        remove(ceph, pool, name, snapshot)


def forget_moments(ceph: CephConnection, pool: str, name: str) -> None:
    """Remove the snapshots that copies left behind which were killed. No copy is under way: its task would hold the
    lock of the volume."""
    with opened(ceph, pool, name) as image:
        left = [found["name"] for found in image.list_snaps() if found["name"].startswith(MOMENT_PREFIX)]
    for snapshot in left:
        remove(ceph, pool, name, snapshot)


@contextmanager
def _changed(ceph: CephConnection, pool: str, name: str, snapshot: str) -> Iterator[rbd.Image]:
    """The image, so that a snapshot of it can be changed."""
    with opened(ceph, pool, name, read_only=False) as image, translated(f"snapshot {pool}/{name}@{snapshot}"):
        yield image
