"""What every BlockStore does, whether Ceph stands behind it or memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvc_core.errors import Cancelled, Conflict, NotFound
from pvc_core.ports import BlockStore

MIB = 1024**2
Names = Callable[[str], list[str]]
PATTERN = b"the content of this disk " * 40


@pytest.fixture
def pool(blocks: BlockStore, image_names: Names) -> Iterator[str]:
    """A pool without volumes; it is made once, since Ceph takes seconds for that."""
    if "vms" not in blocks.pools():
        blocks.create_pool("vms", 8, 1, 1, "default")
    yield "vms"
    for name in image_names("vms"):
        blocks.remove("vms", name)


def ignore(done: int, total: int) -> None:
    pass


def never() -> bool:
    return False


def image_file(directory: Path, size: int, content: bytes, offset: int = 0) -> Path:
    path = directory / "disk.raw"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(offset)
        file.write(content)
    return path


def read(blocks: BlockStore, pool: str, name: str, length: int, offset: int = 0) -> bytes:
    with blocks.map(pool, name) as device, device.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def write(device: Path, content: bytes, offset: int = 0) -> None:
    with device.open("r+b") as file:
        file.seek(offset)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def test_a_new_pool_is_listed_with_its_counters(blocks: BlockStore, pool: str) -> None:
    stats = blocks.pools()[pool]
    assert stats.id > 0
    assert stats.free_bytes > 0


def test_a_pool_can_be_on_the_osds_of_a_tier(blocks: BlockStore) -> None:
    blocks.create_pool("slow", 8, 1, 1, "hdd")
    blocks.create_pool("slower", 8, 1, 1, "hdd")
    assert {"slow", "slower"} <= set(blocks.pools())


def test_a_pool_name_is_taken_once(blocks: BlockStore, pool: str) -> None:
    with pytest.raises(Conflict):
        blocks.create_pool(pool, 8, 1, 1, "default")


def test_pools_are_removed_with_all_that_is_in_them(blocks: BlockStore) -> None:
    blocks.create_pool("gone", 8, 1, 1, "default")
    blocks.create("gone", "disk", MIB)
    blocks.remove_pool("gone")
    assert "gone" not in blocks.pools()
    with pytest.raises(NotFound):
        blocks.exists("gone", "disk")


def test_the_placement_groups_of_a_pool_can_be_changed(blocks: BlockStore, pool: str) -> None:
    blocks.set_pool_pgs(pool, 16)
    blocks.create(pool, "disk", MIB)


def test_the_number_of_copies_of_a_pool_can_be_changed(blocks: BlockStore) -> None:
    blocks.create_pool("copies", 8, 2, 1, "default")
    blocks.set_pool_replication("copies", 3, 1)
    blocks.set_pool_replication("copies", 1, 1)
    blocks.create("copies", "disk", MIB)


def test_a_volume_is_found_as_it_was_created(blocks: BlockStore, pool: str) -> None:
    made = blocks.create(pool, "disk", 64 * MIB)
    assert made == blocks.inspect(pool, "disk")
    assert (made.pool, made.name, made.size, made.order) == (pool, "disk", 64 * MIB, 22)
    assert made.id
    assert made.block_name_prefix == f"rbd_data.{made.id}"
    assert "exclusive-lock" in made.features
    assert blocks.exists(pool, "disk")
    assert not blocks.exists(pool, "dis")


def test_a_volume_name_is_taken_once(blocks: BlockStore, pool: str, image_names: Names) -> None:
    blocks.create(pool, "disk", MIB)
    blocks.create(pool, "other", MIB)
    with pytest.raises(Conflict):
        blocks.create(pool, "disk", MIB)
    with pytest.raises(Conflict):
        blocks.rename(pool, "other", "disk")
    with pytest.raises(Conflict):
        blocks.clone(pool, "other", "disk", ignore, never)
    assert image_names(pool) == ["disk", "other"]


def test_what_does_not_exist_is_not_found(blocks: BlockStore, pool: str, image_names: Names, tmp_path: Path) -> None:
    file = image_file(tmp_path, MIB, b"")
    for call in (
        lambda: blocks.create("none", "disk", MIB),
        lambda: blocks.exists("none", "disk"),
        lambda: blocks.remove_pool("none"),
        lambda: blocks.set_pool_pgs("none", 8),
        lambda: blocks.set_pool_replication("none", 2, 1),
        lambda: blocks.inspect(pool, "none"),
        lambda: blocks.remove(pool, "none"),
        lambda: blocks.resize(pool, "none", MIB),
        lambda: blocks.rename(pool, "none", "new"),
        lambda: blocks.clone(pool, "none", "new", ignore, never),
        lambda: blocks.import_image(file, "raw", pool, "none", ignore, never),
        lambda: blocks.lockers(pool, "none"),
        lambda: blocks.break_locks(pool, "none"),
        lambda: blocks.watchers(pool, "none"),
        lambda: blocks.map(pool, "none").__enter__(),
    ):
        with pytest.raises(NotFound):
            call()
    assert image_names(pool) == []


def test_volumes_are_renamed_resized_and_removed(blocks: BlockStore, pool: str, image_names: Names) -> None:
    made = blocks.create(pool, "disk", MIB)
    assert blocks.rename(pool, "disk", "new").id == made.id
    assert blocks.resize(pool, "new", 8 * MIB).size == 8 * MIB
    assert blocks.resize(pool, "new", 4 * MIB).size == 4 * MIB
    blocks.remove(pool, "new")
    assert image_names(pool) == []


def test_an_import_writes_the_file_reports_progress_and_keeps_holes(
    blocks: BlockStore, pool: str, tmp_path: Path
) -> None:
    blocks.create(pool, "disk", 64 * MIB)
    seen: list[tuple[int, int]] = []
    file = image_file(tmp_path, 64 * MIB, PATTERN, offset=32 * MIB)
    blocks.import_image(file, "raw", pool, "disk", lambda done, total: seen.append((done, total)), never)
    assert read(blocks, pool, "disk", len(PATTERN), 32 * MIB) == PATTERN
    assert read(blocks, pool, "disk", MIB) == bytes(MIB)
    assert seen == sorted(seen)
    assert seen[-1] == (64 * MIB, 64 * MIB)


def test_an_import_overwrites_what_was_there(blocks: BlockStore, pool: str, tmp_path: Path) -> None:
    blocks.create(pool, "disk", 8 * MIB)
    blocks.import_image(image_file(tmp_path, 8 * MIB, PATTERN), "raw", pool, "disk", ignore, never)
    blocks.import_image(image_file(tmp_path, 8 * MIB, b"x", MIB), "raw", pool, "disk", ignore, never)
    assert read(blocks, pool, "disk", 4096) == bytes(4096)


def test_an_image_that_does_not_fit_is_refused(blocks: BlockStore, pool: str, tmp_path: Path) -> None:
    blocks.create(pool, "disk", MIB)
    with pytest.raises(Conflict):
        blocks.import_image(image_file(tmp_path, 2 * MIB, PATTERN), "raw", pool, "disk", ignore, never)
    assert read(blocks, pool, "disk", 4096) == bytes(4096)


def test_an_import_can_be_cancelled(blocks: BlockStore, pool: str, tmp_path: Path) -> None:
    blocks.create(pool, "disk", 64 * MIB)
    file = image_file(tmp_path, 64 * MIB, os.urandom(8 * MIB))
    with pytest.raises(Cancelled):
        blocks.import_image(file, "raw", pool, "disk", ignore, lambda: True)
    assert blocks.watchers(pool, "disk") == []


def test_a_clone_is_an_independent_copy(blocks: BlockStore, pool: str) -> None:
    blocks.create(pool, "disk", 8 * MIB)
    with blocks.map(pool, "disk") as device:
        write(device, PATTERN)
    seen: list[tuple[int, int]] = []
    copy = blocks.clone(pool, "disk", "copy", lambda done, total: seen.append((done, total)), never)
    assert (copy.name, copy.size) == ("copy", 8 * MIB)
    assert seen[-1] == (8 * MIB, 8 * MIB)
    with blocks.map(pool, "disk") as device:
        write(device, b"changed later")
    assert read(blocks, pool, "copy", len(PATTERN)) == PATTERN
    assert blocks.inspect(pool, "disk").snapshot_count == 0
    blocks.remove(pool, "disk")
    assert read(blocks, pool, "copy", len(PATTERN)) == PATTERN


def test_a_cancelled_clone_leaves_nothing(blocks: BlockStore, pool: str, image_names: Names) -> None:
    blocks.create(pool, "disk", 8 * MIB)
    with pytest.raises(Cancelled):
        blocks.clone(pool, "disk", "copy", ignore, lambda: True)
    assert image_names(pool) == ["disk"]
    assert blocks.inspect(pool, "disk").snapshot_count == 0


def test_a_mapped_volume_is_in_use_until_the_context_ends(blocks: BlockStore, pool: str) -> None:
    blocks.create(pool, "disk", 8 * MIB)
    with blocks.map(pool, "disk") as device:
        write(device, PATTERN, MIB)
        assert len(blocks.watchers(pool, "disk")) == 1
        with pytest.raises(Conflict):
            blocks.remove(pool, "disk")
        with pytest.raises(Conflict):
            blocks.rename(pool, "disk", "new")
    assert blocks.watchers(pool, "disk") == []
    assert read(blocks, pool, "disk", len(PATTERN), MIB) == PATTERN
    blocks.remove(pool, "disk")


def test_a_failure_while_mapped_unmaps(blocks: BlockStore, pool: str) -> None:
    blocks.create(pool, "disk", 8 * MIB)
    with pytest.raises(ZeroDivisionError), blocks.map(pool, "disk"):
        _ = 1 / 0
    assert blocks.watchers(pool, "disk") == []


def test_a_free_volume_has_no_locks(blocks: BlockStore, pool: str) -> None:
    blocks.create(pool, "disk", MIB)
    assert blocks.lockers(pool, "disk") == []
    assert blocks.break_locks(pool, "disk") == 0


def test_the_status_shows_health_space_and_pools(blocks: BlockStore, pool: str) -> None:
    status = blocks.status(1000.0)
    assert status.time == 1000.0
    assert status.health.startswith("HEALTH_")
    assert status.osd_states["up,in"] >= 1
    assert status.total_kb >= status.free_kb > 0
    assert pool in status.pools
    assert "health:" in status.status_text
