"""The check of a guest's pattern: what a crash may leave behind, and what only disks of several moments can hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import pattern
from lab.errors import LabError
from lab.pattern import HEADER, Image

BLOCK = 512
ROWS = 4


class Disks:
    """A machine's pattern disks of ``ROWS`` blocks each, written as the guest does."""

    def __init__(self, count: int) -> None:
        self.contents = [bytearray(ROWS * BLOCK) for _ in range(count)]

    def write(self, number: int, *, disks: list[bytearray] | None = None, torn: bool = False) -> None:
        contents = disks or self.contents
        slot = (number - 1) % (ROWS * len(contents))
        block = pattern.block(number, bytes([number % 251]) * (BLOCK - HEADER))
        offset = slot // len(contents) * BLOCK
        length = BLOCK // 2 if torn else BLOCK
        contents[slot % len(contents)][offset : offset + length] = block[:length]

    def write_up_to(self, last: int) -> None:
        for number in range(1, last + 1):
            self.write(number)

    def check(self) -> pattern.Report:
        return check(self.contents)


def check(contents: list[bytearray]) -> pattern.Report:
    def image(content: bytearray) -> Image:
        return Image(len(content), lambda offset, length: bytes(content[offset : offset + length]))

    return pattern.check([image(content) for content in contents], BLOCK)


@pytest.mark.parametrize("count", [1, 3])
def test_what_a_guest_wrote_is_consistent_at_every_moment(count: int) -> None:
    disks = Disks(count)
    assert disks.check() == pattern.Report(0, 0, ())
    for number in range(1, 3 * ROWS * count):
        disks.write(number, torn=True)
        assert disks.check().consistent
        assert disks.check().last == number - 1
        disks.write(number)
        assert disks.check() == pattern.Report(number, min(number, ROWS * count), ())


@pytest.mark.parametrize("last", [5, 12, 17])
def test_disks_of_two_moments_are_told_apart(last: int) -> None:
    disks = Disks(2)
    disks.write_up_to(last)
    earlier = bytearray(disks.contents[0])
    for number in range(last + 1, last + 4):
        disks.write(number)
    report = check([earlier, disks.contents[1]])
    assert not report.consistent
    assert "is missing" in report.wrong[0]


@pytest.mark.parametrize("last", [3, 8, 21])
def test_a_flipped_byte_is_named_with_its_block(last: int) -> None:
    disks = Disks(2)
    disks.write_up_to(last)
    slot = (last - 2) % (2 * ROWS)  # of the block before the last
    disks.contents[slot % 2][slot // 2 * BLOCK + BLOCK - 1] ^= 1
    assert disks.check().wrong == (f"block {last - 1} is torn, and {last} was written",)


def test_disks_that_change_places_are_told_apart() -> None:
    disks = Disks(2)
    disks.write_up_to(6)
    assert not check(disks.contents[::-1]).consistent


def test_foreign_bytes_after_the_end_are_found() -> None:
    disks = Disks(1)
    disks.write_up_to(2)
    disks.contents[0][-1] = 1
    assert disks.check().wrong == ("what lies where block 4 belongs is no block, and 2 is the last one",)


def test_disks_of_two_sizes_are_refused() -> None:
    with pytest.raises(LabError, match="same size"):
        check([bytearray(BLOCK), bytearray(2 * BLOCK)])


def test_files_are_read_as_images(tmp_path: Path) -> None:
    disks = Disks(1)
    disks.write_up_to(2)
    file = tmp_path / "disk"
    file.write_bytes(disks.contents[0])
    with pattern.opened(str(file)) as image:
        assert pattern.check([image], BLOCK).last == 2
    with pytest.raises(LabError, match="No such file"), pattern.opened(str(tmp_path / "other")):
        pass
