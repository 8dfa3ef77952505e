"""What lies beside an exported snapshot: enough to check every byte of it, and to bring it back anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from pvc_core.model.vm_snapshot import VmConfig, VmSnapshot

FORMAT = 1


@dataclass(frozen=True, slots=True)
class DiskFile:
    """One disk's blocks, as a stream of frames (``pvc_core.transfer.frames``) in an object beside the manifest."""

    volume: str  # pool/name
    size: int  # bytes of the disk
    file: str
    stored: int  # bytes of that object
    digest: str  # SHA-256 of that object, hexadecimal


@dataclass(frozen=True, slots=True)
class Manifest:
    """Written last: a directory without one holds nothing that may be restored. ``parent`` is the snapshot from which
    the blocks differ, empty for a full export; ``parent_created`` tells it from another one of that name."""

    vm: str  # uuid
    config: VmConfig
    snapshot: VmSnapshot
    disks: tuple[DiskFile, ...]
    parent: str = ""
    parent_created: float = 0.0
    cluster: str = ""  # fsid of where it was made
    encrypted: bool = False
    format: int = FORMAT

    @property
    def stored(self) -> int:
        """Bytes of all its disks' files."""
        return sum(disk.stored for disk in self.disks)

    @property
    def full(self) -> bool:
        return not self.parent
