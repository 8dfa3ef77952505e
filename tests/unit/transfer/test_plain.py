"""Raw disks, and differences as ``rbd export-diff`` writes them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import pytest

from pvc_core.transfer.frames import LARGEST, Damaged, Frame
from pvc_core.transfer.plain import read_diff, read_raw, write_diff, write_raw

MIB = 1 << 20
BLOCKS = [Frame(4096, 8, b"x" * 8), Frame(3 * MIB, LARGEST, b"y" * LARGEST)]


def reader(content: bytes, at_most: int = 1 << 30):
    """What comes over a connection: less at a time than is asked for."""
    stream = io.BytesIO(content)
    return lambda size: stream.read(min(size, at_most))


def apply(frames: Iterator[Frame], size: int, before: bytes = b"") -> bytes:
    disk = bytearray(before[:size].ljust(size, b"\0"))
    for frame in frames:
        assert frame.length <= LARGEST
        disk[frame.offset : frame.end] = frame.content or bytes(frame.length)
    return bytes(disk)


@pytest.mark.parametrize("size", [4 * MIB, 5 * MIB + 512])
def test_a_raw_disk_is_all_its_bytes_and_comes_back_without_its_zeros(size: int) -> None:
    stream = b"".join(write_raw(BLOCKS, size))
    assert stream == apply(iter(BLOCKS), size)
    frames = list(read_raw(reader(stream, 1000), size))
    assert apply(iter(frames), size) == stream
    assert sum(frame.length for frame in frames) == 2 * LARGEST


def test_a_disk_of_zeros_is_zeros() -> None:
    assert b"".join(write_raw([], 700)) == bytes(700)


@pytest.mark.parametrize(("length", "text"), [(MIB - 1, "breaks off"), (MIB + 1, "goes on after")])
def test_a_raw_disk_of_another_length_is_refused(length: int, text: str) -> None:
    with pytest.raises(Damaged, match=text):
        list(read_raw(reader(bytes(length)), MIB))


def test_a_difference_comes_back_as_it_was() -> None:
    size = 9 * MIB
    changes = [Frame(0, LARGEST, None), Frame(2 * MIB, 8, b"z" * 8), *BLOCKS[1:]]
    stream = b"".join(write_diff(changes, "monday", "tuesday", size))
    found, frames = read_diff(reader(stream, 1000), "monday", "tuesday")
    assert (found, list(frames)) == (size, changes)


def test_a_difference_is_as_ceph_describes_it() -> None:
    stream = b"".join(write_diff([Frame(5, 2, b"ab"), Frame(9, 3, None)], "s1", "s22", 12))
    assert stream == (
        b"rbd diff v1\nf\x02\0\0\0s1t\x03\0\0\0s22s"
        + struct.pack("<Q", 12) + b"w" + struct.pack("<QQ", 5, 2) + b"abz" + struct.pack("<QQ", 9, 3) + b"e"
    )  # fmt: skip


def test_a_stretch_of_any_length_comes_in_parts_that_fit_into_memory() -> None:
    stream = b"".join(write_diff([Frame(0, 5 * MIB, b"x" * 5 * MIB), Frame(1 << 30, 1 << 30, None)], "a", "b", 1 << 40))
    _, frames = read_diff(reader(stream), "a", "b")
    lengths = [frame.length for frame in frames]
    assert max(lengths) <= LARGEST
    assert sum(lengths) == 5 * MIB + (1 << 30)


WHOLE = b"".join(write_diff(BLOCKS, "s1", "s2", 8 * MIB))


@pytest.mark.parametrize("cut", [0, 5, 12, 15, 20, 30, 40, 60, len(WHOLE) // 2, len(WHOLE) - 1])
def test_a_difference_that_breaks_off_anywhere_is_noticed(cut: int) -> None:
    with pytest.raises(Damaged, match="break"):
        list(read_diff(reader(WHOLE[:cut]), "s1", "s2")[1])


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        (b"rbd diff v2\n" + WHOLE[12:], "not the first format"),
        (b"".join(write_diff([], "s0", "s2", MIB)), "from snapshot b's0'"),
        (b"".join(write_diff([], "s1", "s3", MIB)), "to b's3'"),
        (b"rbd diff v1\ne", "lacks b'f', b's', b't'"),
        (b"rbd diff v1\nf\xff\xff\xff\xff", "a name of 4294967295 bytes"),
        (WHOLE[:-1] + b"x", "no block"),
        (WHOLE + b"e", "goes on after its end"),
    ],
)
def test_what_is_no_difference_between_these_snapshots_is_refused(stream: bytes, text: str) -> None:
    with pytest.raises(Damaged, match=text):
        list(read_diff(reader(stream), "s1", "s2")[1])
