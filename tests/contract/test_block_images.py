"""What every BlockStore does with snapshots and with the content of images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from pvc_core.errors import Conflict, DriverError, NotFound
from pvc_core.ports import BlockImage, BlockStore

MIB = 1024**2
BLOCK = 4096
POOL = "vms"


@pytest.fixture
def store(blocks: BlockStore, image_names: Callable[[str], list[str]]) -> Iterator[BlockStore]:
    """A store whose pool has one empty image ``disk`` of 64 MiB."""
    if POOL not in blocks.pools():
        blocks.create_pool(POOL, 8, 1, 1, "default")
    blocks.create(POOL, "disk", 64 * MIB)
    yield blocks
    for name in image_names(POOL):
        for snapshot in blocks.inspect(POOL, name).snapshots:
            blocks.protect_snapshot(POOL, name, snapshot.name, False)
            blocks.remove_snapshot(POOL, name, snapshot.name)
        blocks.remove(POOL, name)


def write(blocks: BlockStore, content: bytes, offset: int = 0) -> None:
    with blocks.open(POOL, "disk", writable=True) as image:
        image.write(offset, content)


def zero(blocks: BlockStore, offset: int, length: int) -> None:
    with blocks.open(POOL, "disk", writable=True) as image:
        image.zero(offset, length)


def read(blocks: BlockStore, offset: int, length: int, snapshot: str = "") -> bytes:
    with blocks.open(POOL, "disk", snapshot=snapshot) as image:
        return image.read(offset, length)


def names(blocks: BlockStore) -> list[str]:
    return [snapshot.name for snapshot in blocks.inspect(POOL, "disk").snapshots]


def ignore(done: int, total: int) -> None:
    pass


def differing(image: BlockImage, since: str = "", start: int = 0) -> list[tuple[int, int, bool]]:
    """The extents, checked for their order."""
    extents = list(image.extents(since, start))
    ends = [start, *(extent.offset + extent.length for extent in extents)]
    assert all(extent.offset >= end for extent, end in zip(extents, ends, strict=False))
    return [(extent.offset, extent.length, extent.data) for extent in extents]


def rebuilt(blocks: BlockStore, snapshot: str, since: str = "", base: bytes = b"") -> bytes:
    """What a receiver of the extents has in the end."""
    with blocks.open(POOL, "disk", snapshot=snapshot) as image:
        copy = bytearray(base.ljust(image.size, b"\0")[: image.size])
        for extent in image.extents(since):
            end = extent.offset + extent.length
            assert end <= image.size
            copy[extent.offset : end] = (
                image.read(extent.offset, extent.length) if extent.data else bytes(extent.length)
            )
    return bytes(copy)


def whole(blocks: BlockStore, snapshot: str = "") -> bytes:
    with blocks.open(POOL, "disk", snapshot=snapshot) as image:
        return image.read(0, image.size)


def test_a_snapshot_keeps_what_the_image_held(store: BlockStore) -> None:
    write(store, b"first")
    store.create_snapshot(POOL, "disk", "one")
    write(store, b"later")
    assert read(store, 0, 5, "one") == b"first"
    assert read(store, 0, 5) == b"later"


def test_snapshots_are_listed_with_size_and_age_oldest_first(store: BlockStore) -> None:
    before = time.time()
    store.create_snapshot(POOL, "disk", "z")
    store.resize(POOL, "disk", 80 * MIB)
    store.create_snapshot(POOL, "disk", "a")
    found = store.inspect(POOL, "disk").snapshots
    assert [(snapshot.name, snapshot.size, snapshot.protected) for snapshot in found] == [
        ("z", 64 * MIB, False),
        ("a", 80 * MIB, False),
    ]
    assert all(before - 2 <= snapshot.created <= time.time() + 2 for snapshot in found)


def test_an_image_that_is_being_written_can_be_snapshot(store: BlockStore) -> None:
    with store.open(POOL, "disk", writable=True) as image:
        image.write(0, b"first")
        image.flush()
        store.create_snapshot(POOL, "disk", "one")
        image.write(0, b"later")
    assert read(store, 0, 5, "one") == b"first"


def test_snapshots_are_renamed_and_removed(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    store.rename_snapshot(POOL, "disk", "one", "two")
    assert names(store) == ["two"]
    store.remove_snapshot(POOL, "disk", "two")
    assert names(store) == []


def test_the_name_of_a_snapshot_is_taken_once(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    store.create_snapshot(POOL, "disk", "two")
    with pytest.raises(Conflict):
        store.create_snapshot(POOL, "disk", "one")
    with pytest.raises(Conflict):
        store.rename_snapshot(POOL, "disk", "one", "two")
    assert names(store) == ["one", "two"]


def test_a_protected_snapshot_is_not_removed(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    for _ in range(2):
        store.protect_snapshot(POOL, "disk", "one", True)
    assert store.inspect(POOL, "disk").snapshots[0].protected
    with pytest.raises(Conflict, match="protected"):
        store.remove_snapshot(POOL, "disk", "one")
    for _ in range(2):
        store.protect_snapshot(POOL, "disk", "one", False)
    store.remove_snapshot(POOL, "disk", "one")
    assert names(store) == []


def test_an_image_with_snapshots_is_not_removed(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    with pytest.raises(Conflict, match="snapshots"):
        store.remove(POOL, "disk")
    assert store.exists(POOL, "disk")


def test_an_image_with_snapshots_can_be_renamed(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    assert [snapshot.name for snapshot in store.rename(POOL, "disk", "new").snapshots] == ["one"]


def test_a_rollback_brings_back_content_and_size(store: BlockStore) -> None:
    write(store, b"first", 5 * MIB)
    store.create_snapshot(POOL, "disk", "one")
    write(store, b"later", 5 * MIB)
    write(store, b"later", 33 * MIB)
    store.resize(POOL, "disk", 80 * MIB)
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        store.rollback(POOL, "disk", "one", lambda done, total: seen.append((done, total)))
        assert store.inspect(POOL, "disk").size == 64 * MIB
        assert whole(store) == whole(store, "one")
    assert seen[-1] == (64 * MIB, 64 * MIB)
    assert all(done <= total == 64 * MIB for done, total in seen)


def test_an_image_in_use_is_not_rolled_back(store: BlockStore) -> None:
    store.create_snapshot(POOL, "disk", "one")
    write(store, b"later")
    with store.open(POOL, "disk", writable=True), pytest.raises(Conflict, match="in use"):
        store.rollback(POOL, "disk", "one", ignore)
    assert read(store, 0, 5) == b"later"


def test_a_snapshot_that_is_not_there_is_not_found(store: BlockStore) -> None:
    for call in (
        lambda: store.create_snapshot(POOL, "none", "one"),
        lambda: store.remove_snapshot(POOL, "disk", "none"),
        lambda: store.rename_snapshot(POOL, "disk", "none", "new"),
        lambda: store.protect_snapshot(POOL, "disk", "none", True),
        lambda: store.rollback(POOL, "disk", "none", ignore),
        lambda: store.open(POOL, "disk", snapshot="none").__enter__(),
        lambda: store.open(POOL, "none").__enter__(),
    ):
        with pytest.raises(NotFound):
            call()
    with store.open(POOL, "disk") as image, pytest.raises(NotFound):
        list(image.extents("none"))


def test_what_was_written_is_read_once_it_is_flushed(store: BlockStore) -> None:
    content = os.urandom(10 * MIB)
    with store.open(POOL, "disk", writable=True) as image:
        for offset in range(0, len(content), MIB):
            image.write(3 * MIB + offset, content[offset : offset + MIB])
        image.flush()
        assert read(store, 3 * MIB, len(content)) == content
        image.zero(4 * MIB, 5 * MIB)
    assert read(store, 3 * MIB, MIB) == content[:MIB]
    assert read(store, 4 * MIB, 5 * MIB) == bytes(5 * MIB)
    assert read(store, 9 * MIB, 4 * MIB) == content[6 * MIB :]


@pytest.mark.parametrize(("offset", "length"), [(100, 50), (0, BLOCK), (MIB, 6 * MIB), (60 * MIB, 4 * MIB)])
def test_zeros_are_zeros_to_the_byte(store: BlockStore, offset: int, length: int) -> None:
    write(store, b"x" * (16 * MIB))
    zero(store, offset, length)
    expected = bytearray((b"x" * (16 * MIB)).ljust(64 * MIB, b"\0"))
    expected[offset : offset + length] = bytes(length)
    assert whole(store) == expected


def test_only_what_holds_data_is_told_of_an_image(store: BlockStore) -> None:
    with store.open(POOL, "disk") as image:
        assert differing(image) == []
    content = os.urandom(BLOCK)
    write(store, content, 8 * MIB)
    write(store, content, 41 * MIB)
    store.create_snapshot(POOL, "disk", "one")
    with store.open(POOL, "disk", snapshot="one") as image:
        found = differing(image)
        assert all(data for _, _, data in found)
        assert sum(length for _, length, _ in found) < 4 * MIB
        assert [extent[0] for extent in differing(image, start=20 * MIB) if extent[0] < 40 * MIB] == []
    assert rebuilt(store, "one") == whole(store, "one")


def test_only_what_changed_since_a_snapshot_is_told(store: BlockStore) -> None:
    write(store, os.urandom(16 * MIB))
    store.create_snapshot(POOL, "disk", "one")
    write(store, b"y" * BLOCK, 5 * MIB)
    zero(store, 9 * MIB, BLOCK)
    write(store, b"y" * 2 * BLOCK, 50 * MIB)
    store.create_snapshot(POOL, "disk", "two")
    write(store, b"changed after", 60 * MIB)
    with store.open(POOL, "disk", snapshot="two") as image:
        changed, zeroed, new = differing(image, "one")
        assert changed == (5 * MIB, BLOCK, True)
        assert zeroed[:2] == (9 * MIB, BLOCK)  # a store may take zeros within an object for data
        assert new[0] >= 48 * MIB  # and the beginning of a new object as well
        assert new[0] + new[1] == 50 * MIB + 2 * BLOCK
        assert differing(image, "one", start=6 * MIB) == [zeroed, new]
        assert differing(image, "two") == []
    assert rebuilt(store, "two", "one", whole(store, "one")) == whole(store, "two")


def test_a_row_of_small_changes_and_holes_is_rebuilt_exactly(store: BlockStore) -> None:
    base = os.urandom(24 * MIB)
    write(store, base)
    store.create_snapshot(POOL, "disk", "one")
    with store.open(POOL, "disk", writable=True) as image:
        for number in range(200):
            offset = number * 31 * BLOCK + 512 * (number % 5)
            if number % 3:
                image.write(offset, os.urandom(700 + number))
            else:
                image.zero(offset, 3000 + number)
        image.zero(12 * MIB, 8 * MIB)
    store.create_snapshot(POOL, "disk", "two")
    assert rebuilt(store, "two", "one", base) == whole(store, "two")
    assert rebuilt(store, "two") == whole(store, "two")


def test_what_was_cut_off_and_grown_again_is_told_as_zeros(store: BlockStore) -> None:
    write(store, b"x" * (20 * MIB))
    store.create_snapshot(POOL, "disk", "one")
    with store.open(POOL, "disk", writable=True) as image:
        image.resize(6 * MIB)
        image.resize(72 * MIB)
        assert image.size == 72 * MIB
        image.write(70 * MIB, b"beyond the old end")
    store.create_snapshot(POOL, "disk", "two")
    assert rebuilt(store, "two", "one", whole(store, "one")) == whole(store, "two")


@pytest.mark.parametrize("lost", ["one", "two"])
def test_a_snapshot_that_is_removed_while_it_is_read_is_noticed(store: BlockStore, lost: str) -> None:
    write(store, b"x" * (9 * MIB))
    store.create_snapshot(POOL, "disk", "one")
    write(store, b"y" * (5 * MIB))
    store.create_snapshot(POOL, "disk", "two")
    with pytest.raises(Conflict, match=f"@{lost} was removed"), store.open(POOL, "disk", snapshot="two") as image:
        removed_while_read(store, image, lost)


def removed_while_read(store: BlockStore, image: BlockImage, lost: str) -> None:
    for extent in image.extents("one"):
        if lost in names(store):
            store.remove_snapshot(POOL, "disk", lost)
        image.read(extent.offset, extent.length)


def test_a_read_that_skips_what_was_told_is_right_all_the_same(store: BlockStore) -> None:
    content = os.urandom(24 * MIB)
    write(store, content)
    with store.open(POOL, "disk") as image:
        extents = image.extents()
        next(extents)
        for offset, length in (
            (MIB, 100),
            (9 * MIB, 4 * MIB),
            (2 * MIB, MIB),
            (12 * MIB, 4 * MIB),
            (16 * MIB, 8 * MIB),
        ):
            assert image.read(offset, length) == content[offset : offset + length]


def test_an_image_opened_to_be_read_cannot_be_written(store: BlockStore) -> None:
    with pytest.raises(DriverError), store.open(POOL, "disk") as image:
        image.write(0, b"content")  # which may fail only when the context ends
    assert read(store, 0, 7) == bytes(7)


def test_a_write_that_failed_is_told_by_the_end(store: BlockStore) -> None:
    with pytest.raises(DriverError), store.open(POOL, "disk", writable=True) as image:
        image.write(64 * MIB, b"beyond the end")
    assert store.watchers(POOL, "disk") == []


def test_notes_are_kept_with_an_image(store: BlockStore) -> None:
    with store.open(POOL, "disk", writable=True) as image:
        assert image.note("position") == ""
        image.set_note("position", "1")
        image.set_note("position", "2")
        image.set_note("other", "x")
        image.set_note("other", "")
        image.set_note("never", "")
    with store.open(POOL, "disk") as image:
        assert (image.note("position"), image.note("other")) == ("2", "")


def test_an_image_opened_to_be_written_is_in_use_until_the_context_ends(store: BlockStore) -> None:
    with store.open(POOL, "disk"):
        assert store.watchers(POOL, "disk") == []
    with store.open(POOL, "disk", writable=True) as image:
        image.write(0, b"content")
        assert len(store.watchers(POOL, "disk")) == 1
        with pytest.raises(Conflict):
            store.remove(POOL, "disk")
    with pytest.raises(ZeroDivisionError), store.open(POOL, "disk", writable=True):
        _ = 1 / 0
    assert store.watchers(POOL, "disk") == []
