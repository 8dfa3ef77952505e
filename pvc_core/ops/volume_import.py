"""Bring an image file into a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pvc_core.errors import BadRequest, Conflict, Failed
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.model.task import Lane
from pvc_core.ops.base import Run
from pvc_core.ops.common import check_name, users_of_volume
from pvc_core.ops.volume import VolumeOperation
from pvc_core.ops.volume_steps import check_room, create_volume, require_pool, update_record

IMAGE_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vpc", "qed")


@dataclass(frozen=True)
class VolumeImport(VolumeOperation):
    """Write an image file from the spool directory of ``node`` into a volume, which is made if there is none. The file
    is removed at the end, however that comes."""

    path: str
    image_format: str
    node: str

    task_name = "volume.import"
    summary = "Import an image into a volume"
    lane = Lane.BULK

    def worker_node(self, snapshot: ClusterSnapshot) -> str | None:
        return self.node

    def check(self, snapshot: ClusterSnapshot) -> None:
        if self.image_format not in IMAGE_FORMATS:
            raise BadRequest(f"image_format is one of {', '.join(IMAGE_FORMATS)}, not {self.image_format!r}")
        require_pool(snapshot, self.pool)
        check_name("volume", self.name)
        for entry, _ in users_of_volume(snapshot, self.full_name):
            if entry.holder:
                raise Conflict(f"volume {self.full_name} is a disk of VM {entry.vm.name}, which runs: stop it first")

    def execute(self, run: Run) -> Mapping[str, Any]:
        path = Path(self.path)
        if path.parent != Path(run.tools.config.daemon.spool_directory):
            raise BadRequest(f"{path} does not lie in this node's spool directory")
        try:
            return self._import(run, path)
        finally:
            path.unlink(missing_ok=True)

    def _import(self, run: Run, path: Path) -> Mapping[str, Any]:
        blocks = run.tools.blocks
        if not path.exists():
            raise BadRequest("the image file is gone: upload it again")
        size = blocks.image_size(path, self.image_format)
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
        run.step(f"Writing the image into volume {self.full_name}")
        blocks.import_image(path, self.image_format, self.pool, self.name, run.part, run.cancelled)
        run.commit_point()
        update_record(run, blocks.inspect(self.pool, self.name))
        return {"message": f"The image is imported into volume {self.full_name}"}


def _cannot_undo() -> None:
    raise Failed("what it held before is written over")
