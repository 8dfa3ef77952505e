"""RBD images as block devices of this machine.

By the kernel's own client where it has one (``rbd map``). Else qemu-storage-daemon shows the image as a file through
FUSE, and a loop device makes a block device of that file.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pvc_core.drivers.ceph_connection import CephConnection
from pvc_core.drivers.qemu_img import options
from pvc_core.errors import DriverError

log = logging.getLogger(__name__)

TIMEOUT = 30.0  # seconds for each command, and for the daemon to show the image
POLL = 0.02  # seconds between two looks at what cannot be waited for


@contextmanager
def mapped(connection: CephConnection, pool: str, name: str) -> Iterator[Path]:
    """The image, which exists, as a block device for as long as the context lasts."""
    way = _by_kernel if _kernel_has_rbd() else _by_storage_daemon
    with way(connection, pool, name) as device:
        yield device


def _kernel_has_rbd() -> bool:
    bus = Path("/sys/bus/rbd")
    if not bus.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", "rbd"], timeout=TIMEOUT, check=False)
    return bus.exists()


@contextmanager
def _by_kernel(connection: CephConnection, pool: str, name: str) -> Iterator[Path]:
    config = connection.config
    client = ["rbd", "--conf", config.config_file, "--id", config.user]
    device = _run(connection, [*client, "map", f"{pool}/{name}"])
    try:
        yield Path(device)
    finally:
        _run(connection, [*client, "unmap", device])


@contextmanager
def _by_storage_daemon(connection: CephConnection, pool: str, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pvc-map-") as directory:
        file = Path(directory) / "image"
        file.touch()
        with _exported(connection, pool, name, file), _looped(connection, file) as device:
            yield device


@contextmanager
def _exported(connection: CephConnection, pool: str, name: str, file: Path) -> Iterator[None]:
    """Show the image as the content of ``file``. The daemon ends with the thread that started it."""
    config = connection.config
    image = options(
        "rbd", **{"node-name": "image", "pool": pool, "image": name, "conf": config.config_file, "user": config.user}
    )
    export = f"type=fuse,id=export,node-name=image,writable=on,mountpoint={file}"
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "qemu-storage-daemon", "--blockdev", image, "--export", export],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=connection.environment(),
        )
        try:
            _wait_mounted(process, file, errors.fileno())
            yield
        finally:
            _end(process, file)


def _wait_mounted(process: subprocess.Popen[bytes], file: Path, errors: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not _is_mounted(file):
        if process.poll() is not None or time.monotonic() > deadline:
            words = os.pread(errors, 4096, 0).decode(errors="replace").strip()
            raise DriverError(f"qemu-storage-daemon did not show the image: {words or 'no answer'}")
        time.sleep(POLL)


def _is_mounted(file: Path) -> bool:
    try:
        return file.stat().st_dev != file.parent.stat().st_dev
    except OSError as error:
        if error.errno == errno.ENOTCONN:  # its daemon is dead, and the mount is not
            return True
        raise


def _end(process: subprocess.Popen[bytes], file: Path) -> None:
    process.terminate()
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        log.warning("qemu-storage-daemon %d did not end in %g s and is killed", process.pid, TIMEOUT)
        process.kill()
        process.wait()
    if _is_mounted(file):  # a daemon that was killed leaves its mount behind
        subprocess.run(["umount", "--lazy", str(file)], timeout=TIMEOUT, check=False)


@contextmanager
def _looped(connection: CephConnection, file: Path) -> Iterator[Path]:
    """A loop device over ``file``.

    It is detached at once while it is held open here, so the kernel takes it away with its last user, however this
    process ends.
    """
    device = Path(_run(connection, ["losetup", "--find", "--show", str(file)]))
    try:
        holder = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        _run(connection, ["losetup", "--detach", str(device)])
    try:
        yield device
    finally:
        os.close(holder)
        _wait_detached(device)


def _wait_detached(device: Path) -> None:
    """The kernel lets go of the file a moment after the last user has closed the device."""
    backing = Path("/sys/block") / device.name / "loop" / "backing_file"
    deadline = time.monotonic() + TIMEOUT
    while backing.exists():
        if time.monotonic() > deadline:
            raise DriverError(f"{device} is still in use: something that was started on it has not ended")
        time.sleep(POLL)


def _run(connection: CephConnection, command: list[str]) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=connection.environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise DriverError(f"{command[0]} did not end within {TIMEOUT:g} s") from None
    if result.returncode != 0:
        raise DriverError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")
    return result.stdout.strip()
