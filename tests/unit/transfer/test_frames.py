"""What was written is read back, and whatever was changed, cut off or left out is found and named."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pvc_core.transfer.frames import LARGEST, Damaged, Frame, decode, encode


def read(stream: bytes) -> list[Frame]:
    return list(decode(io.BytesIO(stream).read))


@given(some.lists(some.tuples(some.integers(0, 1 << 20), some.none() | some.binary(min_size=1, max_size=99))))
def test_what_was_written_is_read_back(blocks: list[tuple[int, bytes | None]]) -> None:
    frames, place = [], 0
    for gap, content in blocks:
        frames.append(Frame(place + gap, len(content) if content else 7, content))
        place = frames[-1].end
    for compress in (True, False):
        assert read(b"".join(encode(frames, compress=compress))) == frames


FRAMES = [Frame(0, 4096, os.urandom(4096)), Frame(8192, 4096, b"same" * 1024), Frame(1 << 30, LARGEST, None)]
PARTS = list(encode(FRAMES))
STREAM = b"".join(PARTS)


@given(some.integers(0, len(STREAM) * 8 - 1))
def test_any_flipped_bit_is_found(bit: int) -> None:
    damaged = bytearray(STREAM)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        read(bytes(damaged))


@given(some.integers(0, len(STREAM) - 1))
def test_a_stream_that_was_cut_off_is_found(length: int) -> None:
    with pytest.raises(Damaged):
        read(STREAM[:length])


@pytest.mark.parametrize("missing", range(len(FRAMES)))
def test_a_missing_block_is_found(missing: int) -> None:
    with pytest.raises(Damaged):
        read(b"".join(part for number, part in enumerate(PARTS) if number != missing))


def test_the_damage_is_named_by_its_place_on_the_disk() -> None:
    damaged = bytearray(STREAM)
    damaged[len(PARTS[0]) + 60] ^= 1
    with pytest.raises(Damaged, match="the block at byte 8192 of the disk"):
        read(bytes(damaged))


def test_blocks_that_are_all_alike_take_little_room() -> None:
    assert len(b"".join(encode([Frame(0, LARGEST, b"x" * LARGEST)]))) < 2000
