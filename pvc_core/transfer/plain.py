"""Blocks of a disk in the forms that others know: its raw bytes, and the first format of ``rbd export-diff``.

Neither has digests. A stream that breaks off is noticed, and a byte that was flipped on its way is not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain

from pvc_core.transfer.frames import LARGEST, ZEROS, Damaged, Frame, exactly

_MAGIC = b"rbd diff v1\n"  # the format is described in Ceph's developer documentation, "RBD Incremental Backup"
_LENGTH, _SIZE, _EXTENT = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<QQ")
_LONGEST_NAME = 4096  # bytes that are taken for the name of a snapshot

Read = Callable[[int], bytes]  # up to so many bytes, none only at the end


def write_raw(frames: Iterable[Frame], size: int) -> Generator[bytes, None, None]:
    """All ``size`` bytes of a disk of which ``frames``, in ascending order, are what is not zeros."""
    position = 0
    for frame in chain(frames, (Frame(size, 0, b""),)):
        while position < frame.offset:
            part = ZEROS[: frame.offset - position]
            position += len(part)
            yield part
        if frame.length:
            yield frame.content or bytes(frame.length)
        position = frame.end


def read_raw(read: Read, size: int) -> Iterator[Frame]:
    """The blocks of a disk of ``size`` bytes that are not zeros. Raises Damaged unless there are as many bytes."""
    for offset, length in _pieces(0, size):
        content = exactly(read, length, f"it breaks off after byte {offset} of the disk, which has {size}")
        if content != ZEROS[:length]:
            yield Frame(offset, length, content)
    if read(1):
        raise Damaged(f"it goes on after the {size} bytes of the disk")


def write_diff(frames: Iterable[Frame], parent: str, snapshot: str, size: int) -> Generator[bytes, None, None]:
    """How a disk of ``size`` bytes at ``snapshot`` differs from ``parent``, as ``rbd import-diff`` takes it."""
    names = (b"f", parent.encode()), (b"t", snapshot.encode())
    yield _MAGIC + b"".join(kind + _LENGTH.pack(len(name)) + name for kind, name in names) + b"s" + _SIZE.pack(size)
    for frame in frames:
        kind = b"z" if frame.content is None else b"w"
        yield kind + _EXTENT.pack(frame.offset, frame.length) + (frame.content or b"")
    yield b"e"


def read_diff(read: Read, parent: str, snapshot: str) -> tuple[int, Iterator[Frame]]:
    """The size of the disk at ``snapshot``, and the blocks in which it differs from ``parent``, as ``rbd export-diff``
    writes them between those two. Raises Damaged, also while the blocks are read."""
    if exactly(read, len(_MAGIC), "it is empty, or breaks off") != _MAGIC:
        raise Damaged("it is not the first format of rbd export-diff")
    head = dict(_head(read))
    between = (head[b"f"], head[b"t"])
    if between != (parent.encode(), snapshot.encode()):
        raise Damaged(f"it is from snapshot {between[0]!r} to {between[1]!r}, not from {parent} to {snapshot}")
    (size,) = _SIZE.unpack(head[b"s"])
    return size, _blocks(read)


def _head(read: Read) -> Iterator[tuple[bytes, bytes]]:
    """The three records that each difference begins with, in any order."""
    missing = {b"f", b"t", b"s"}
    while missing:
        kind = exactly(read, 1, "it breaks off in its head")
        if kind not in missing:
            raise Damaged(f"its head has a record {kind!r}, and lacks {', '.join(sorted(map(repr, missing)))}")
        missing.remove(kind)
        length = _SIZE.size
        if kind != b"s":
            (length,) = _LENGTH.unpack(exactly(read, _LENGTH.size, "it breaks off in its head"))
            if length > _LONGEST_NAME:
                raise Damaged(f"its head has a name of {length} bytes")
        yield kind, exactly(read, length, "it breaks off in its head")


def _blocks(read: Read) -> Iterator[Frame]:
    reached = 0
    while (kind := exactly(read, 1, f"it breaks off after byte {reached} of the disk")) != b"e":
        if kind not in (b"w", b"z"):
            raise Damaged(f"what follows byte {reached} of the disk is a record {kind!r}, and no block")
        extent = exactly(read, _EXTENT.size, f"it breaks off after byte {reached} of the disk")
        for offset, length in _pieces(*_EXTENT.unpack(extent)):
            content = None
            if kind == b"w":
                content = exactly(read, length, f"it breaks off within the block at byte {offset} of the disk")
            yield Frame(offset, length, content)
            reached = offset + length
    if read(1):
        raise Damaged("it goes on after its end")


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """A stretch in parts that fit into memory: their offsets and lengths."""
    end = offset + length
    return ((at, min(LARGEST, end - at)) for at in range(offset, end, LARGEST))
