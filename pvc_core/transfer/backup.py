"""Exported snapshots in a store: written, looked up, checked and read back.

Below the store's root, ``<machine>/<snapshot>/`` holds ``<pool>/<volume>.pvcf`` for each disk and ``manifest.json``,
which is written last and removed first, so that what has one is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

import msgspec

from pvc_core.errors import BadRequest, Cancelled, NotFound, PvcError
from pvc_core.model.manifest import FORMAT, DiskFile, Manifest
from pvc_core.model.vm_snapshot import SnapshotDisk
from pvc_core.ports import BackupTarget, BlockStore, Extent
from pvc_core.transfer.encryption import decrypting, encrypting
from pvc_core.transfer.frames import Damaged, Frame, decode, encode
from pvc_core.transfer.images import read_frames

MANIFEST = "manifest.json"
SUFFIX = ".pvcf"
LARGEST_MANIFEST = 64 << 20  # bytes
PIECE = 1 << 20  # bytes read at a time where nothing else asks for a size

Moved = Callable[[int], object]  # is told of so many more bytes
Asked = Callable[[], bool]  # whether it shall stop


@dataclass(frozen=True)
class _Sealed:
    """What is in the manifest's file: the manifest as it was encoded, and the SHA-256 of that."""

    sha256: str
    manifest: msgspec.Raw


@dataclass(frozen=True)
class Link:
    """One export of a chain, and where it lies."""

    prefix: str
    manifest: Manifest

    @property
    def stored(self) -> int:
        """Bytes of all its disks' files."""
        return sum(disk.stored for disk in self.manifest.disks)


def prefix_of(vm_name: str, snapshot: str) -> str:
    return f"{vm_name}/{snapshot}/"


def data_size(blocks: BlockStore, manifest: Manifest, parent_disks: Collection[str]) -> int:
    """How many bytes of the disks an export will read."""
    return sum(
        extent.length
        for disk in manifest.snapshot.disks
        for extent in _extents(blocks, disk.volume, manifest, parent_disks)
    )


def _extents(blocks: BlockStore, volume: str, manifest: Manifest, parent_disks: Collection[str]) -> Iterator[Extent]:
    with blocks.open(*volume.split("/", 1), snapshot=manifest.snapshot.name) as image:
        yield from (extent for extent in image.extents(_since(volume, manifest, parent_disks)) if extent.data)


def write_disks(
    target: BackupTarget,
    prefix: str,
    manifest: Manifest,
    parent_disks: Collection[str],
    blocks: BlockStore,
    *,
    recipients: Sequence[str] = (),
    compress: bool = True,
    moved: Moved,
    cancelled: Asked,
) -> Manifest:
    """Write a file for each disk of ``manifest.snapshot``: of what differs from the snapshot ``manifest.parent`` for
    those that the parent has. ``moved`` counts bytes of the disks. Answers the manifest with these files, which stands
    for nothing until ``write_manifest`` has stored it. Raises Cancelled."""
    files = []
    for disk in manifest.snapshot.disks:
        name = f"{disk.volume}{SUFFIX}"
        with (
            blocks.open(*disk.volume.split("/", 1), snapshot=manifest.snapshot.name) as image,
            target.write(prefix + name) as file,
        ):
            sink = _Digesting(file)
            frames = read_frames(image, _since(disk.volume, manifest, parent_disks))
            with encrypting(sink, recipients) as stream:  # type: ignore[arg-type]
                for part in encode(_counted(frames, moved, cancelled), compress=compress):
                    stream.write(part)
        files.append(sink.disk_file(disk, name))
    return replace(manifest, disks=tuple(files), encrypted=bool(recipients))


def write_manifest(target: BackupTarget, prefix: str, manifest: Manifest) -> None:
    """Make the export complete."""
    content = msgspec.json.encode(manifest)
    sealed = _Sealed(hashlib.sha256(content).hexdigest(), msgspec.Raw(content))
    with target.write(prefix + MANIFEST) as file:
        file.write(msgspec.json.encode(sealed))


def read_manifest(target: BackupTarget, prefix: str) -> Manifest:
    """Raises NotFound without one, Damaged when it is not what was written, BadRequest for one of a newer version."""
    name = prefix + MANIFEST
    with target.read(name) as file:
        content = file.read(LARGEST_MANIFEST)
    try:
        sealed = msgspec.json.decode(content, type=_Sealed)
        if hashlib.sha256(sealed.manifest).hexdigest() != sealed.sha256:
            raise Damaged(f"{name} is not what was written")
        version = msgspec.json.decode(sealed.manifest).get("format", FORMAT)
        if version > FORMAT:
            raise BadRequest(f"{name} has version {version}, and this PVC reads up to {FORMAT}: use a newer one")
        return msgspec.json.decode(sealed.manifest, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        raise Damaged(f"{name} is not what was written") from None


def exports(target: BackupTarget, vm_name: str) -> list[Manifest]:
    """All complete exports of a machine that can be read, oldest first."""
    found = []
    for name in target.names(f"{vm_name}/"):
        if name.endswith(f"/{MANIFEST}") and name.count("/") == 2:
            with suppress(NotFound, Damaged, BadRequest):
                found.append(read_manifest(target, name.removesuffix(MANIFEST)))
    return sorted(found, key=lambda manifest: manifest.snapshot.created)


def chain(target: BackupTarget, prefix: str) -> list[Link]:
    """The exports that together make the one at ``prefix``: a full one, and increments in the order in which they are
    written back. Raises NotFound and Damaged naming the one that is missing or is not what it should be."""
    links = [Link(prefix, read_manifest(target, prefix))]
    while links[0].manifest.parent:
        child = links[0]
        above = child.prefix.rstrip("/").rpartition("/")[0]
        parent = f"{above}/{child.manifest.parent}/" if above else f"{child.manifest.parent}/"
        try:
            link = Link(parent, read_manifest(target, parent))
        except NotFound:
            raise NotFound(f"{child.prefix} holds only what differs from {parent}, which is not there") from None
        wanted = (child.manifest.vm, child.manifest.parent, child.manifest.parent_created)
        snapshot = link.manifest.snapshot
        if (link.manifest.vm, snapshot.name, snapshot.created) != wanted or snapshot.created >= (
            child.manifest.snapshot.created
        ):
            raise Damaged(f"{child.prefix} differs from another snapshot than the one in {parent}")
        links.insert(0, link)
    return links


def files_of(links: Sequence[Link], volume: str) -> list[tuple[Link, DiskFile]]:
    """The files of a chain that together make one disk, in the order in which they are written: from where the machine
    has had it without a break."""
    parts: list[tuple[Link, DiskFile]] = []
    for link in reversed(links):
        file = next((file for file in link.manifest.disks if file.volume == volume), None)
        if file is None:
            break
        parts.insert(0, (link, file))
    return parts


def disk_frames(
    target: BackupTarget,
    prefix: str,
    disk: DiskFile,
    *,
    identities: Sequence[str] = (),
    moved: Moved = lambda _: None,
    cancelled: Asked = lambda: False,
    damaged: Callable[[Damaged], object] | None = None,
) -> Iterator[Frame]:
    """The blocks of a disk's file, each checked, and the whole file at the end. ``moved`` counts bytes of the file.
    Raises Cancelled, NotFound and Damaged, or tells ``damaged`` of all that is where that is given."""
    with target.read(prefix + disk.file) as file:
        source = _Digesting(file, moved, cancelled)
        with decrypting(source, identities) as stream:  # type: ignore[arg-type]
            yield from decode(stream.read, damaged)
        source.require(disk)


def check_export(
    target: BackupTarget,
    link: Link,
    *,
    identities: Sequence[str] = (),
    moved: Moved = lambda _: None,
    cancelled: Asked = lambda: False,
) -> tuple[str, ...]:
    """Read all of an export back. What is missing or damaged, each by its disk and place; nothing when it is whole. The
    files of an encrypted one are compared as they are where no identity is given. Raises Cancelled."""
    problems: list[str] = []
    for disk in link.manifest.disks:
        found: list[PvcError] = []
        try:
            if link.manifest.encrypted and not identities:
                _compare(target, link.prefix, disk, moved, cancelled)
            else:
                keys = identities if link.manifest.encrypted else ()
                options = {"identities": keys, "moved": moved, "cancelled": cancelled, "damaged": found.append}
                for _ in disk_frames(target, link.prefix, disk, **options):  # type: ignore[arg-type]
                    pass
        except NotFound:
            found = [NotFound("its file is missing")]
        except Damaged as error:
            found = found or [error]  # a file whose blocks are damaged is not the one that was written, of course
        problems += [f"disk {disk.volume} in {link.prefix}{disk.file}: {error}" for error in found]
    return tuple(problems)


def remove_export(target: BackupTarget, prefix: str) -> None:
    """Its manifest first, so that what is left of it when this breaks off is no export. No error without one."""
    for name in (prefix + MANIFEST, *target.names(prefix)):
        target.remove(name)


def _since(volume: str, manifest: Manifest, parent_disks: Collection[str]) -> str:
    """A disk that the parent has not is exported whole."""
    return manifest.parent if volume in parent_disks else ""


def _compare(target: BackupTarget, prefix: str, disk: DiskFile, moved: Moved, cancelled: Asked) -> None:
    with target.read(prefix + disk.file) as file:
        _Digesting(file, moved, cancelled).require(disk)


def _counted(frames: Iterable[Frame], moved: Moved, cancelled: Asked) -> Iterator[Frame]:
    for frame in frames:
        _stop_if(cancelled)
        yield frame
        moved(frame.length)


def _stop_if(cancelled: Asked) -> None:
    if cancelled():
        raise Cancelled("cancelled on request")


class _Digesting:
    """A file that is read or written once, from its begin to its end, with the digest of what passed."""

    def __init__(self, file: IO[bytes], moved: Moved = lambda _: None, cancelled: Asked = lambda: False) -> None:
        self._file = file
        self._moved = moved
        self._cancelled = cancelled
        self._sha256 = hashlib.sha256()
        self._count = 0

    def read(self, size: int = PIECE) -> bytes:
        _stop_if(self._cancelled)
        content = self._file.read(size)
        self._add(content)
        return content

    def write(self, content: bytes) -> int:
        self._add(content)
        return self._file.write(content)

    def flush(self) -> None:
        self._file.flush()

    def disk_file(self, disk: SnapshotDisk, name: str) -> DiskFile:
        return DiskFile(disk.volume, disk.size, name, self._count, self._sha256.hexdigest())

    def require(self, disk: DiskFile) -> None:
        """Read what follows. Raises Damaged unless it was the file that was written."""
        while self.read():
            pass
        if self._count != disk.stored:
            raise Damaged(f"it has {self._count} bytes, and not the {disk.stored} that were written")
        if self._sha256.hexdigest() != disk.digest:
            raise Damaged("its SHA-256 is not that of what was written")

    def _add(self, content: bytes) -> None:
        self._sha256.update(content)
        self._count += len(content)
        self._moved(len(content))
