"""Bring an image into a volume: from a file, or as it comes over the network."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvc_core.errors import BadRequest, Conflict, Failed
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane
from pvc_core.ops.base import Run
from pvc_core.ops.common import check_name, users_of_volume
from pvc_core.ops.meter import Meter
from pvc_core.ops.volume import VolumeOperation
from pvc_core.ops.volume_steps import (
    check_room,
    create_volume,
    require_no_mirror,
    require_pool,
    update_record,
    user_locks,
)

IMAGE_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "qed")
BLOCK = 4 << 20  # bytes of a stream that are written at once
SILENCE = 1.0  # seconds without a byte between two looks at whether the task was cancelled


@dataclass(frozen=True)
class _Import(VolumeOperation):
    lane = Lane.BULK

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (*super().locks(snapshot), *user_locks(snapshot, self.full_name))

    def check(self, snapshot: ClusterSnapshot) -> None:
        require_pool(snapshot, self.pool)
        check_name("volume", self.name)
        require_no_mirror(snapshot, self.full_name)
        for entry, _ in users_of_volume(snapshot, self.full_name):
            if entry.holder:
                raise Conflict(f"volume {self.full_name} is a disk of VM {entry.vm.name}, which runs: stop it first")

    def prepare(self, run: Run, size: int) -> None:
        """Have a volume that is large enough, and made if there was none."""
        blocks = run.tools.blocks
        run.plan(2)
        run.step(f"Preparing volume {self.full_name}")
        if self.full_name in run.snapshot.volumes:
            room = blocks.inspect(self.pool, self.name).size
            if size > room:
                raise Conflict(f"the image holds {size} bytes, and volume {self.full_name} has {room}: grow it first")
            in_use = blocks.watchers(self.pool, self.name)
            if in_use:
                raise Conflict(f"volume {self.full_name} is in use by {', '.join(in_use)}")
            run.undo(f"volume {self.full_name} holds a part of the image", _cannot_undo)
        else:
            check_room(run, self.pool, size, force=False)
            create_volume(run, self.pool, self.name, size)

    def complete(self, run: Run) -> Mapping[str, Any]:
        run.commit_point()
        update_record(run, run.tools.blocks.inspect(self.pool, self.name))
        return {"message": f"The image is imported into volume {self.full_name}"}


@dataclass(frozen=True)
class VolumeImport(_Import):
    """Write an image file from the spool directory of ``node`` into a volume, which is made if there is none. The file
    is removed at the end, however that comes."""

    path: str
    image_format: str
    node: str

    task_name = "volume.import"
    summary = "Import an image into a volume"

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.image_format not in IMAGE_FORMATS:
            raise BadRequest(f"image_format is one of {', '.join(IMAGE_FORMATS)}, not {self.image_format!r}")
        super().check(snapshot)

    def execute(self, run: Run) -> Mapping[str, Any]:
        path = _in_spool(run, self.path)
        try:
            return self._import(run, path)
        finally:
            path.unlink(missing_ok=True)

    def _import(self, run: Run, path: Path) -> Mapping[str, Any]:
        blocks = run.tools.blocks
        if not path.exists():
            raise BadRequest("the image file is gone: upload it again")
        size = blocks.image_size(path, self.image_format)
        self.prepare(run, size)
        run.step(f"Writing the image into volume {self.full_name}")
        meter = Meter(run, size)
        blocks.import_image(path, self.image_format, self.pool, self.name, meter.reach, run.cancelled)
        return self.complete(run)


@dataclass(frozen=True)
class VolumeUpload(_Import):
    """Write ``size`` bytes into a volume as they come over a socket in the spool directory of ``node``, where whoever
    takes the upload listens. It says that it has sent all by ending the stream."""

    path: str
    size: int
    node: str

    task_name = "volume.upload"
    summary = "Write an uploaded image into a volume"

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        super().check(snapshot)
        if self.size <= 0:
            raise BadRequest(f"an image has at least one byte, not {self.size}")

    def execute(self, run: Run) -> Mapping[str, Any]:
        path = _in_spool(run, self.path)
        self.prepare(run, self.size)
        run.step(f"Writing the image into volume {self.full_name}")
        with socket.socket(socket.AF_UNIX) as source:
            try:
                source.connect(str(path))
            except OSError:
                raise Conflict("the upload has ended: send it again") from None
            self._write(run, source)
        return self.complete(run)

    def _write(self, run: Run, source: socket.socket) -> None:
        offset, meter = 0, Meter(run, self.size)
        with run.tools.blocks.open(self.pool, self.name, writable=True) as image:
            for block in self._blocks(run, source):
                if block.count(0) == len(block):
                    image.zero(offset, len(block))
                else:
                    image.write(offset, block)
                offset += len(block)
                meter.add(len(block))
                run.checkpoint()

    def _blocks(self, run: Run, source: socket.socket) -> Iterator[bytes]:
        """All that comes, in equal blocks up to the last. Raises Failed unless it is as much as was announced."""
        came = 0
        for length in (*[BLOCK] * (self.size // BLOCK), self.size % BLOCK):
            block = b"".join(_receive(run, source, length))
            came += len(block)
            if len(block) < length:
                raise Failed(f"the upload broke off after {came} of {self.size} bytes")
            if block:
                yield block
        if any(_receive(run, source, 1)):
            raise Failed(f"more came than the {self.size} bytes that were announced")


def _receive(run: Run, source: socket.socket, length: int) -> Iterator[bytes]:
    """What comes, until it is ``length`` bytes or the stream ends. Raises Cancelled."""
    source.settimeout(SILENCE)
    while length:
        try:
            part = source.recv(length)
        except TimeoutError:
            run.checkpoint()
            continue
        if not part:
            return
        length -= len(part)
        yield part


def _in_spool(run: Run, path: str) -> Path:
    if Path(path).parent != Path(run.tools.config.daemon.spool_directory):
        raise BadRequest(f"{path} does not lie in this node's spool directory")
    return Path(path)


def _cannot_undo() -> None:
    raise Failed("what it held before is written over")
