"""Exports in a directory: checked down to the block, and unpacked without a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pyrage
import pytest

from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.errors import BadRequest, Cancelled
from pvc_core.fakes.blocks import FakeBlocks
from pvc_core.model.manifest import FORMAT, Manifest
from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmConfig, VmSnapshot
from pvc_core.transfer import backup, unpack
from pvc_core.transfer.frames import LARGEST, Damaged

UUID = "00000000-0000-0000-0000-000000000001"
SIZE = 3 * LARGEST
RANDOM = os.urandom(LARGEST)


class Site:
    """One disk with two snapshots, both exported; ``whole`` is what it was at the second."""

    def __init__(self, directory: Path, recipients: tuple[str, ...] = ()) -> None:
        self.root = directory
        self.target = DirectoryTarget(str(directory))
        self.blocks = FakeBlocks()
        self.blocks.create_pool("vms", 8, 1, 1, "default")
        self.blocks.create("vms", "a", SIZE)
        self.recipients = recipients
        self.write(0, b"begin")
        self.write(LARGEST, RANDOM)
        self.export("s1", 1.0, "")
        self.write(LARGEST + 5, b"changed")
        self.write(0, bytes(4096))
        self.export("s2", 2.0, "s1")
        self.whole = bytes(LARGEST) + RANDOM[:5] + b"changed" + RANDOM[12:] + bytes(LARGEST)

    def write(self, offset: int, content: bytes) -> None:
        with self.blocks.open("vms", "a", writable=True) as image:
            image.write(offset, content)

    def export(self, name: str, created: float, parent: str) -> None:
        self.blocks.create_snapshot("vms", "a", name)
        disk = SnapshotDisk("vms/a", SIZE)
        taken = VmSnapshot(UUID, name, created, Quiesced.OFF, (disk,))
        manifest = Manifest(UUID, VmConfig("vm", "<domain/>"), taken, (), parent, created - 1.0 if parent else 0.0)
        manifest = backup.write_disks(
            self.target,
            f"vm/{name}/",
            manifest,
            ("vms/a",) if parent else (),
            self.blocks,
            recipients=self.recipients,
            moved=lambda _: None,
            cancelled=lambda: False,
        )
        backup.write_manifest(self.target, f"vm/{name}/", manifest)

    def file(self, name: str) -> Path:
        return self.root / "vm" / name / "vms/a.pvcf"

    def flip(self, name: str, offset: int) -> None:
        content = bytearray(self.file(name).read_bytes())
        content[offset] ^= 1
        self.file(name).write_bytes(content)

    def check(self, name: str = "s1", **options: tuple[str, ...]) -> tuple[str, ...]:
        link = backup.chain(self.target, f"vm/{name}/")[-1]
        return backup.check_export(self.target, link, **options)  # type: ignore[arg-type]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_what_is_whole_has_no_problems(site: Site) -> None:
    assert site.check("s1") == site.check("s2") == ()


def test_each_damaged_block_is_named_by_its_place_on_the_disk(site: Site) -> None:
    size = site.file("s1").stat().st_size
    site.flip("s1", 45)
    site.flip("s1", size - 1000)
    assert site.check() == (
        "disk vms/a in vm/s1/vms/a.pvcf: the block at byte 0 of the disk is not what was written",
        f"disk vms/a in vm/s1/vms/a.pvcf: the block at byte {LARGEST} of the disk is not what was written",
    )
    assert site.check("s2") == ()


def test_what_follows_the_end_or_is_missing_before_it_is_found(site: Site) -> None:
    content = site.file("s1").read_bytes()
    site.file("s1").write_bytes(content + b"more")
    assert "it has" in site.check()[0]
    site.file("s1").write_bytes(content[:-60])
    assert f"it breaks off within the block at byte {LARGEST} of the disk" in site.check()[0]
    site.file("s1").write_bytes(site.file("s2").read_bytes())
    assert "it has" in site.check()[0]
    site.file("s1").unlink()
    assert site.check() == ("disk vms/a in vm/s1/vms/a.pvcf: its file is missing",)


def test_a_check_can_be_cancelled(site: Site) -> None:
    link = backup.chain(site.target, "vm/s1/")[-1]
    with pytest.raises(Cancelled):
        backup.check_export(site.target, link, cancelled=lambda: True)


def test_any_flipped_byte_of_a_manifest_is_found(site: Site) -> None:
    path = site.root / "vm/s1/manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(Damaged):
            backup.read_manifest(site.target, "vm/s1/")


def test_the_manifest_of_a_newer_version_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "FORMAT", FORMAT - 1)
    with pytest.raises(BadRequest, match=f"has version {FORMAT}, and this PVC reads up to {FORMAT - 1}"):
        backup.read_manifest(site.target, "vm/s1/")


def test_exports_are_listed_oldest_first_without_what_is_unfinished(site: Site) -> None:
    (site.root / "vm/s0").mkdir()
    (site.root / "vm/s0/disk").touch()
    assert [manifest.snapshot.name for manifest in backup.exports(site.target, "vm")] == ["s1", "s2"]


def test_a_disk_is_unpacked_without_a_cluster(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "disk.raw"
    unpack.main([str(site.root / "vm/s2"), "vms/a", str(output)])
    assert output.read_bytes() == site.whole
    assert output.stat().st_blocks * 512 < SIZE  # it is sparse


def test_nothing_is_unpacked_from_what_is_damaged_or_over_a_file(site: Site, tmp_path: Path) -> None:
    output = tmp_path / "disk.raw"
    with pytest.raises(SystemExit, match="there is no disk vms/b in it; there are vms/a"):
        unpack.main([str(site.root / "vm/s2"), "vms/b", str(output)])
    with pytest.raises(SystemExit, match=r"has no manifest.json"):
        unpack.main([str(tmp_path), "vms/a", str(output)])
    site.flip("s1", 5000)
    with pytest.raises(SystemExit, match="the block at byte"):
        unpack.main([str(site.root / "vm/s2"), "vms/a", str(output)])
    assert not output.exists()
    output.write_bytes(b"mine")
    with pytest.raises(SystemExit, match="File exists"):
        unpack.main([str(site.root / "vm/s2"), "vms/a", str(output)])
    assert output.read_bytes() == b"mine"


def test_an_encrypted_export_is_checked_with_and_without_its_identity(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()
    site = Site(tmp_path / "store", (str(identity.to_public()),))
    assert b"PVCF" not in site.file("s1").read_bytes()
    assert site.check() == site.check(identities=(str(identity),)) == ()
    key = tmp_path / "identity"
    key.write_text(str(identity))
    output = tmp_path / "disk.raw"
    unpack.main([str(site.root / "vm/s2"), "vms/a", str(output), "--identity", str(key)])
    assert output.read_bytes() == site.whole
    site.flip("s1", site.file("s1").stat().st_size // 2)
    assert "its SHA-256 is not that of what was written" in site.check()[0]
    assert f"it breaks off within the block at byte {LARGEST}" in site.check(identities=(str(identity),))[0]
