"""The one form in which blocks of a disk leave Ceph: in an export, in a backup, and on the wire to another cluster.

A stream is a row of frames in ascending order of their place on the disk, and an end. Each frame can be checked by
itself, so that damage is found where it is; the end shows that none is missing. Blocks that are not in a stream are as
in its parent, or zeros where it has none.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import xxhash
import zstandard

from pvc_core.errors import DriverError
from pvc_core.transfer.pipeline import in_order

MAGIC = b"PVCF"
LARGEST = 512 << 10  # bytes of a disk in one frame: larger ones are not faster, and what is on its way takes memory
ZEROS = bytes(LARGEST)
_READABLE = 4 << 20  # bytes that a reader takes, so that it knows how much memory it needs
_FIELDS = struct.Struct("!4sB3xQII")  # magic, kind, offset, length, stored
_HEADER = _FIELDS.size + 16  # the fields and a digest of them and of what is stored
_PAYS = 0.9  # compressed is kept when it takes no more than this share
_LARGE = 64 << 10  # bytes of a block that is worth the way to another thread
_SAMPLE = 16 << 10  # bytes that show whether a large block compresses


class Kind(IntEnum):
    RAW = 0
    ZSTD = 1
    ZERO = 2  # zeros, with nothing stored
    END = 3  # its offset is the number of frames before it, its digest covers all their headers


@dataclass(frozen=True, slots=True)
class Frame:
    """``length`` bytes of a disk from ``offset`` on; zeros where ``content`` is None."""

    offset: int
    length: int
    content: bytes | None

    @property
    def end(self) -> int:
        return self.offset + self.length


class Damaged(DriverError):
    """A stream is not what was written; the message says where."""

    code = "damaged"


class _Codecs(threading.local):
    """Used by one thread each."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=1)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def encode(frames: Iterable[Frame], *, compress: bool = True) -> Generator[bytes, None, None]:
    """A whole stream, one frame at a time."""
    headers, count = xxhash.xxh3_128(), 0
    for header, stored in in_order(lambda frame: _pack(frame, compress), frames, _is_large):
        headers.update(header)
        count += 1
        yield header + stored
    yield _header(Kind.END, count, 0, 0, headers.digest())


def decode(read: Callable[[int], bytes], damaged: Callable[[Damaged], object] | None = None) -> Iterator[Frame]:
    """The frames of a whole stream, each checked before it is answered. ``read(n)`` answers up to n bytes, and none
    only at the end. Raises Damaged, or tells ``damaged`` of all that is, where that is given, and answers the rest."""
    for frame in in_order(_unpack, _stored_frames(read), _is_large):
        if isinstance(frame, Frame):
            yield frame
        elif damaged is not None:
            damaged(frame)
        else:
            raise frame


def _pack(frame: Frame, compress: bool) -> tuple[bytes, bytes]:
    kind, stored = Kind.ZERO, b""
    if frame.content is not None:
        kind, stored = Kind.RAW, frame.content
        if compress and (frame.length < _LARGE or _pays(frame.content[:_SAMPLE])):
            packed = _codecs.compressor.compress(frame.content)
            if len(packed) <= _PAYS * frame.length:
                kind, stored = Kind.ZSTD, packed
    return _header(kind, frame.offset, frame.length, len(stored), stored), stored


def _is_large(frame: Frame | _Stored | Damaged) -> bool:
    return not isinstance(frame, Damaged) and bool(frame.content) and frame.length >= _LARGE


def _pays(sample: bytes) -> bool:
    return len(_codecs.compressor.compress(sample)) <= _PAYS * len(sample)


def _header(kind: Kind, offset: int, length: int, stored: int, content: bytes) -> bytes:
    fields = _FIELDS.pack(MAGIC, kind, offset, length, stored)
    return fields + _digest(fields, content)


def _digest(fields: bytes, content: bytes) -> bytes:
    digest = xxhash.xxh3_128(fields)
    digest.update(content)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class _Stored:
    """A frame as it was read."""

    header: bytes
    kind: Kind
    offset: int
    length: int
    content: bytes

    @property
    def place(self) -> str:
        return f"the block at byte {self.offset} of the disk"


def _stored_frames(read: Callable[[int], bytes]) -> Iterator[_Stored | Damaged]:
    """Ends with what is wrong where nothing can be read after it."""
    headers, count, reached = xxhash.xxh3_128(), 0, 0
    try:
        while True:
            header = exactly(read, _HEADER, f"it breaks off after {count} blocks, at byte {reached} of the disk")
            magic, kind, offset, length, stored = _FIELDS.unpack(header[: _FIELDS.size])
            if magic != MAGIC or kind not in tuple(Kind):
                raise Damaged(f"what follows byte {reached} of the disk is no block")
            if kind == Kind.END:
                if header != _header(Kind.END, count, 0, 0, headers.digest()):
                    raise Damaged(f"its {count} blocks are not those that were written")
                return
            if not 0 < length <= _READABLE or stored > length or offset < reached or (kind == Kind.ZERO and stored):
                raise Damaged(f"the block that follows byte {reached} of the disk has a header that cannot be")
            content = exactly(read, stored, f"it breaks off within the block at byte {offset} of the disk")
            yield _Stored(header, Kind(kind), offset, length, content)
            headers.update(header)
            count, reached = count + 1, offset + length
    except Damaged as error:  # the whole blocks before it come first
        yield error


def _unpack(stored: _Stored | Damaged) -> Frame | Damaged:
    if isinstance(stored, Damaged):
        return stored
    content: bytes | None = stored.content
    if stored.header[_FIELDS.size :] != _digest(stored.header[: _FIELDS.size], stored.content):
        return Damaged(f"{stored.place} is not what was written")
    if stored.kind is Kind.ZERO:
        content = None
    elif stored.kind is Kind.ZSTD:
        try:
            content = _codecs.decompressor.decompress(stored.content, max_output_size=stored.length)
        except zstandard.ZstdError:
            return Damaged(f"{stored.place} cannot be unpacked")
    if content is not None and len(content) != stored.length:
        return Damaged(f"{stored.place} has not the length that it should have")
    return Frame(stored.offset, stored.length, content)


def exactly(read: Callable[[int], bytes], size: int, otherwise: str) -> bytes:
    """``size`` bytes; raises Damaged with ``otherwise`` when the stream ends before."""
    parts = []
    while size:
        part = read(size)
        if not part:
            raise Damaged(otherwise)
        parts.append(part)
        size -= len(part)
    return b"".join(parts) if len(parts) != 1 else parts[0]
