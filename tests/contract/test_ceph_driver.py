"""What only the driver for Ceph has to do: image formats, real locks, and a Ceph that does not answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.local import LocalServices
from pvc_core.config import CephConfig
from pvc_core.drivers import ceph_connection
from pvc_core.drivers.ceph import CephBlockStore
from pvc_core.drivers.ceph_connection import QUESTIONS, CephConnection
from pvc_core.drivers.ceph_osds import osd_stats
from pvc_core.errors import BadRequest, Conflict, DriverError, DriverUnavailable, NotFound
from tests.contract.worlds import eventually

pytestmark = pytest.mark.services

MIB = 1024**2
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def blocks(ceph: CephConfig) -> Iterator[CephBlockStore]:
    blocks = CephBlockStore(ceph)
    blocks.create_pool("vms", 8, 1, 1, "default")
    yield blocks
    blocks.remove_pool("vms")
    blocks.close()


def ignore(done: int, total: int) -> None:
    pass


def never() -> bool:
    return False


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def raw_file(directory: Path) -> Path:
    path = directory / "disk.raw"
    with path.open("wb") as file:
        file.truncate(256 * MIB)
        file.seek(100 * MIB)
        file.write(b"content of the disk")
    return path


@pytest.mark.parametrize("image_format", ["qcow2", "vmdk", "vdi", "vpc"])
def test_a_formatted_image_is_imported_with_its_holes(
    blocks: CephBlockStore, ceph: CephConfig, tmp_path: Path, image_format: str
) -> None:
    file = tmp_path / f"disk.{image_format}"
    qemu_img("convert", "-f", "raw", "-O", image_format, raw_file(tmp_path), file)
    blocks.create("vms", "disk", 300 * MIB)
    blocks.import_image(file, image_format, "vms", "disk", ignore, never)
    with blocks.map("vms", "disk") as device, device.open("rb") as disk:
        disk.seek(100 * MIB)
        assert disk.read(19) == b"content of the disk"
    used = subprocess.run(
        ["rbd", "--conf", ceph.config_file, "du", "vms/disk"], check=True, capture_output=True, text=True
    ).stdout
    assert " 4 MiB" in used.splitlines()[1]


def test_an_image_that_refers_to_another_file_is_refused(blocks: CephBlockStore, tmp_path: Path) -> None:
    file = tmp_path / "evil.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", file)
    blocks.create("vms", "disk", MIB)
    with pytest.raises(BadRequest, match="/etc/passwd"):
        blocks.import_image(file, "qcow2", "vms", "disk", ignore, never)


@pytest.mark.parametrize(("image_format", "words"), [("qcow2", "no qcow2 image"), ("iso", "raw, vdi, vmdk")])
def test_a_file_that_is_not_of_its_format_is_refused(
    blocks: CephBlockStore, tmp_path: Path, image_format: str, words: str
) -> None:
    blocks.create("vms", "disk", 300 * MIB)
    with pytest.raises(BadRequest, match=words):
        blocks.import_image(raw_file(tmp_path), image_format, "vms", "disk", ignore, never)


def test_the_copies_of_a_pool_are_changed_in_ceph(blocks: CephBlockStore, ceph: CephConfig) -> None:
    blocks.set_pool_replication("vms", 3, 2)
    shown = subprocess.run(
        ["ceph", "--conf", ceph.config_file, "osd", "pool", "get", "vms", "all"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    assert {"size: 3", "min_size: 2"} <= set(shown)
    blocks.set_pool_replication("vms", 1, 1)


def test_a_volume_with_snapshots_is_not_removed(blocks: CephBlockStore, ceph: CephConfig) -> None:
    blocks.create("vms", "disk", MIB)
    rbd = ["rbd", "--conf", ceph.config_file, "--no-progress", "snap"]
    subprocess.run([*rbd, "create", "vms/disk@one"], check=True)
    assert blocks.inspect("vms", "disk").snapshot_count == 1
    with pytest.raises(Conflict, match="snapshots"):
        blocks.remove("vms", "disk")


def test_the_lock_of_a_dead_client_is_found_and_broken(blocks: CephBlockStore, ceph: CephConfig) -> None:
    blocks.create("vms", "disk", MIB)
    subprocess.run(["rbd", "--conf", ceph.config_file, "lock", "add", "vms/disk", "old"], check=True)
    assert len(blocks.lockers("vms", "disk")) == 1
    assert blocks.lockers("vms", "disk")[0].client.startswith("client.")
    assert blocks.break_locks("vms", "disk") == 1
    assert blocks.lockers("vms", "disk") == []


def test_a_process_that_dies_while_it_has_a_volume_mapped_leaves_the_volume_free(
    blocks: CephBlockStore, ceph: CephConfig, tmp_path: Path
) -> None:
    blocks.create("vms", "disk", MIB)
    program = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pvc_core.config import CephConfig
from pvc_core.drivers.ceph import CephBlockStore
with CephBlockStore(CephConfig(config_file={ceph.config_file!r})).map("vms", "disk") as device:
    print(device, flush=True)
    time.sleep(100)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    device = Path(process.stdout.readline().strip())
    assert device.is_block_device()
    assert len(blocks.watchers("vms", "disk")) == 1
    process.kill()
    process.wait()
    process.stdout.close()
    eventually(lambda: not Path("/sys/block", device.name, "loop").exists())
    eventually(lambda: blocks.watchers("vms", "disk") == [])
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    blocks.remove("vms", "disk")


def readable(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def test_a_storage_daemon_that_is_killed_leaves_no_mount(
    blocks: CephBlockStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    blocks.create("vms", "orphan", MIB)
    with blocks.map("vms", "orphan"):
        [image] = tmp_path.glob("*/image")
        subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "qemu-storage"], check=True)
        eventually(lambda: not readable(image))
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_is_missing_is_named() -> None:
    with pytest.raises(DriverError, match=r"/nowhere/ceph\.conf"):
        CephBlockStore(CephConfig(config_file="/nowhere/ceph.conf")).pools()


def test_osds_are_listed_while_a_new_manager_knows_nothing_of_them(ceph: CephConfig) -> None:
    class NewManager(CephConnection):
        def manager_command(self, prefix: str, **arguments: object) -> None:
            return None

    connection = NewManager(ceph)
    try:
        assert all(osd.up and osd.kb == 0 for osd in osd_stats(connection).values())
        assert len(osd_stats(connection)) > 0
    finally:
        connection.close()


def test_while_ceph_is_away_calls_end_and_say_so_and_work_again_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceph_connection, "MONITOR_TIMEOUT", 2)
    monkeypatch.setattr(ceph_connection, "CONNECT_TIMEOUT", 2)
    with LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True) as services:
        blocks = CephBlockStore(CephConfig(config_file=str(services.ceph_config)))
        blocks.create_pool("vms", 8, 1, 1, "default")
        services.kill("ceph-mon")
        began = time.monotonic()
        with pytest.raises(DriverUnavailable):
            blocks.status(0.0)
        with pytest.raises(DriverUnavailable):
            CephBlockStore(CephConfig(config_file=str(services.ceph_config))).pools()
        assert time.monotonic() - began < 30
        services.start_service("ceph-mon")
        services.wait("ceph-mon")
        eventually(lambda: _pools(blocks) == {"vms"}, timeout=30)
        blocks.close()


def test_a_manager_that_answers_late_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """See ``CephConnection``: answers that nobody waits for any more have to find the memory that they are for."""
    monkeypatch.setattr(ceph_connection, "MANAGER_TIMEOUT", 0.5)
    with LocalServices(zookeeper=False, postgresql=False, redis=False, ceph=True) as services:
        connection = CephConnection(CephConfig(config_file=str(services.ceph_config)))
        assert connection.text("osd status", manager=True)
        manager = services.pids("ceph-mgr")[-1]
        os.kill(manager, signal.SIGSTOP)
        for _ in range(QUESTIONS + 2):
            with pytest.raises(DriverUnavailable, match="the manager does not answer"):
                connection.text("osd status", manager=True)
        assert connection.command("osd dump")["osds"]
        os.kill(manager, signal.SIGCONT)
        eventually(lambda: _answers(connection), timeout=30)
        connection.close()


def _answers(connection: CephConnection) -> bool:
    try:
        return bool(connection.text("osd status", manager=True))
    except DriverUnavailable:
        return False


def _pools(blocks: CephBlockStore) -> set[str] | None:
    """None while Ceph does not answer."""
    try:
        return set(blocks.status(0.0).pools)
    except DriverUnavailable:
        return None


def test_what_a_killed_copy_left_is_no_snapshot_of_the_volume(blocks: CephBlockStore, ceph: CephConfig) -> None:
    blocks.create("vms", "source", 4 * MIB)
    command = ["rbd", "--conf", ceph.config_file, "snap", "create", "--no-progress", "vms/source@pvc-copy-killed"]
    subprocess.run(command, check=True, capture_output=True)
    assert blocks.inspect("vms", "source").snapshot_count == 0
    blocks.remove("vms", "source")
    assert not blocks.exists("vms", "source")


def objects(ceph: CephConfig, *command: str) -> None:
    subprocess.run(["rados", "--conf", ceph.config_file, "--pool", "vms", *command], check=True, capture_output=True)


@pytest.mark.parametrize("written", [("rbd_id.disk",), ()], ids=["its name", "its entry"])
def test_the_name_of_an_image_whose_maker_or_remover_died_is_free(
    blocks: CephBlockStore, ceph: CephConfig, written: tuple[str, ...]
) -> None:
    made = blocks.create("vms", "disk", 4 * MIB)
    for name in {"rbd_id.disk", f"rbd_header.{made.id}", f"rbd_object_map.{made.id}"}.difference(written):
        objects(ceph, "rm", name)
    assert not blocks.exists("vms", "disk")
    with pytest.raises(NotFound):
        blocks.remove("vms", "disk")
    assert blocks.create("vms", "disk", 8 * MIB).size == 8 * MIB
    objects(ceph, "rm", f"rbd_header.{blocks.inspect('vms', 'disk').id}")
    blocks.create("vms", "other", 4 * MIB)
    assert blocks.rename("vms", "other", "disk").size == 4 * MIB
    blocks.remove("vms", "disk")


def test_a_name_that_a_killed_rename_left_is_free_and_the_image_stays(
    blocks: CephBlockStore, ceph: CephConfig, tmp_path: Path
) -> None:
    blocks.create("vms", "old", 4 * MIB)
    objects(ceph, "get", "rbd_id.old", str(tmp_path / "name"))
    made = blocks.rename("vms", "old", "disk")
    with blocks.open("vms", "disk", writable=True) as image:
        image.write(0, b"content")
    for again in (
        lambda: blocks.remove("vms", "old"),
        lambda: blocks.create("vms", "old", 8 * MIB),
        lambda: blocks.rename("vms", "other", "old"),
    ):
        objects(ceph, "put", "rbd_id.old", str(tmp_path / "name"))
        assert not blocks.exists("vms", "old")
        with pytest.raises(NotFound):
            blocks.inspect("vms", "old")
        if not blocks.exists("vms", "other"):
            blocks.create("vms", "other", 4 * MIB)
        with suppress(NotFound):
            again()
        assert blocks.inspect("vms", "disk") == made
        if blocks.exists("vms", "old"):
            assert blocks.inspect("vms", "old").id != made.id
            blocks.remove("vms", "old")
    with blocks.open("vms", "disk") as image:
        assert image.read(0, 7) == b"content"
