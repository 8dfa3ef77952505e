"""What the drivers of OSDs read from other programs, and what they have them do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pvc_core.config import CephConfig
from pvc_core.drivers import disks, osds_lvm
from pvc_core.drivers.ceph_osds import Traffic, parse_traffic
from pvc_core.drivers.fio import parse
from pvc_core.drivers.osds_lvm import LvmOsds
from pvc_core.errors import Conflict, DriverError
from pvc_core.model.benchmark import BenchmarkTest
from pvc_core.model.storage import Device, Osd

DISK = Device("/dev/sdb", 800 * 10**9, "ATA INTEL SSD")
LISTED = {
    "3": [
        {
            "type": "block",
            "path": "/dev/ceph-1/osd-block-aa",
            "vg_name": "ceph-1",
            "lv_name": "osd-block-aa",
            "lv_size": "799999000000",
            "devices": ["/dev/sdb"],
            "tags": {"ceph.osd_fsid": "aa", "ceph.osd_id": "3", "ceph.cluster_fsid": "cluster"},
        },
        {
            "type": "db",
            "path": "/dev/osd-db/osd-db-aa",
            "vg_name": "osd-db",
            "lv_name": "osd-db-aa",
            "lv_size": "21474836480",
            "devices": ["/dev/nvme0n1"],
            "tags": {"ceph.osd_fsid": "aa", "ceph.osd_id": "3"},
        },
    ]
}


class Programs:
    """Stand in $PATH for those that need LVM: each notes how it was called, and answers as told."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = directory / "calls"
        self._log.touch()
        for name in ("ceph", "ceph-volume", "vgcreate", "lvcreate", "lvremove", "vgremove", "pvremove", "systemctl"):
            self.answers(name, "")
        self.answers("vgs", " osd-db\n")
        self.answers("pvs", " /dev/sdb ceph-1\n")
        self.answers("lvs", " ceph-1/osd-block-aa\n osd-db/osd-db-aa\n osd-db/osd-db-bb\n")

    def answers(self, name: str, text: str, *, status: int = 0) -> None:
        (self._directory / f"{name}.answer").write_text(text)
        program = self._directory / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >>{self._log}\ncat {self._directory}/{name}.answer\nexit {status}\n'
        )
        program.chmod(0o755)

    def calls(self) -> list[str]:
        """What changed something, since the last time."""
        found = self._log.read_text().splitlines()
        self._log.write_text("")
        return [call for call in found if not call.startswith(("vgs", "pvs", "lvs", "ceph-volume lvm list"))]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = Programs(tmp_path)
    found.answers("ceph-volume", json.dumps(LISTED))
    return found


@pytest.fixture
def lvm(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LvmOsds:
    monkeypatch.setattr(osds_lvm, "disks", lambda _: [DISK])
    ids = iter(("1", "aa", "bb"))
    monkeypatch.setattr(osds_lvm.uuid, "uuid4", lambda: next(ids))
    keyring = tmp_path / "bootstrap"
    keyring.touch()
    return LvmOsds("n1", CephConfig(), keyring)


def test_logical_volumes_are_listed_as_osds(lvm: LvmOsds) -> None:
    assert lvm.present() == [Osd(3, "n1", "/dev/sdb", "/dev/osd-db/osd-db-aa", 21474836480, "aa")]


def test_a_disk_becomes_a_group_with_a_volume_for_each_osd(lvm: LvmOsds, programs: Programs) -> None:
    (made,) = lvm.create("/dev/sdb", 1, "osd-db", 20 << 30, lambda _: None)
    assert made.id == 3
    assert programs.calls() == [
        "vgcreate --yes ceph-1 /dev/sdb",
        "lvcreate --yes --name osd-block-aa --extents 100%FREE ceph-1",
        f"lvcreate --yes --name osd-db-aa --size {20 << 30}b osd-db",
        "ceph-volume lvm create --bluestore --osd-fsid aa --data ceph-1/osd-block-aa --block.db osd-db/osd-db-aa",
    ]


def test_what_fails_is_taken_back_in_reverse(lvm: LvmOsds, programs: Programs) -> None:
    programs.answers("lvcreate", "", status=5)
    with pytest.raises(DriverError, match="lvcreate"):
        lvm.create("/dev/sdb", 1, "", 0, lambda _: None)
    assert programs.calls()[-2:] == ["vgremove --yes ceph-1", "pvremove --yes /dev/sdb"]


def test_a_replacement_keeps_the_id(lvm: LvmOsds, programs: Programs) -> None:
    lvm.replace(3, "/dev/sdb", "", 0, lambda _: None)
    assert programs.calls()[-1].endswith("--data ceph-1/osd-block-aa --osd-id 3")


def test_wiping_spares_the_group_of_databases(lvm: LvmOsds, programs: Programs) -> None:
    programs.answers("vgs", " 0\n")
    lvm.zap(3)
    assert programs.calls() == [
        "ceph-volume lvm zap --osd-id 3",
        "lvremove --yes ceph-1/osd-block-aa",
        "lvremove --yes osd-db/osd-db-aa",
        "vgremove --yes ceph-1",
        "pvremove --yes /dev/sdb",
    ]


def test_a_stopped_osd_stays_down_at_the_next_boot(lvm: LvmOsds, programs: Programs) -> None:
    lvm.stop(3)
    assert programs.calls() == ["systemctl disable --now ceph-osd@3", "systemctl disable ceph-volume@lvm-3-aa"]


def test_an_osd_of_another_cluster_is_not_started(lvm: LvmOsds, programs: Programs) -> None:
    programs.answers("ceph", "other\n")
    with pytest.raises(Conflict, match="one of the Ceph cluster cluster, this is other"):
        lvm.activate(3, "/dev/sdb")
    programs.answers("ceph", "cluster\n")
    lvm.activate(3, "/dev/sdb")
    assert programs.calls()[-1] == "ceph-volume lvm activate --bluestore 3 aa"


def test_the_group_of_databases_is_made_once_and_never_empty(lvm: LvmOsds, programs: Programs) -> None:
    with pytest.raises(Conflict, match="has a volume group osd-db"):
        lvm.create_db_group("/dev/sdb")
    programs.answers("vgs", " system\n")
    lvm.create_db_group("/dev/sdb")
    assert programs.calls() == [
        "vgcreate --yes osd-db /dev/sdb",
        "lvcreate --yes --name pvc-keep --extents 1 osd-db",
    ]


def test_disks_are_described_with_what_they_hold() -> None:
    row = {
        "name": "sdb", "path": "/dev/sdb", "type": "disk", "size": 10, "model": "SSD 870 ", "vendor": "ATA     ",
        "serial": None, "rota": False, "mountpoints": [None],
    }  # fmt: skip
    assert disks.device(row, lambda _: []) == Device("/dev/sdb", 10, "ATA SSD 870")
    assert disks.device(row, lambda _: ["ext4"]).holds == "data (ext4)"
    assert disks.device({**row, "children": [{"name": "sdb1"}]}, lambda _: []).holds == "sdb1"
    assert disks.device({**row, "mountpoints": ["/srv"]}, lambda _: []).holds == "what is mounted at /srv"


def test_the_traffic_of_osds_is_read_from_cephs_table() -> None:
    text = (
        "ID  HOST    USED  AVAIL  WR OPS  WR DATA  RD OPS  RD DATA  STATE      \n"
        " 0  node1  1179M  8191M     12    1.5M       3     4095   exists,up  \n"
        " 1            0      0       0       0       0        0   exists,new \n"
    )
    assert parse_traffic(f"\x1b[1m{text}\x1b[0m") == {0: Traffic(12, 3 << 19, 3, 4095), 1: Traffic()}
    torn = text.replace("4095", "B")
    assert parse_traffic(torn) == {1: Traffic()}


def test_the_report_of_fio_is_read() -> None:
    side = {
        "bw_bytes": 4096000,
        "iops": 1000.5,
        "io_bytes": 40960000,
        "runtime": 10000,
        "lat_ns": {"mean": 900000.0, "max": 5000000},
        "clat_ns": {"percentile": {"50.000000": 800000, "95.000000": 1500000, "99.000000": 2000000}},
    }
    figures = parse({"jobs": [{"write": side, "read": {}}]}, BenchmarkTest("x", "randwrite", "4K"))
    assert (figures.bandwidth, figures.iops, figures.seconds) == (4096000.0, 1000.5, 10.0)
    latency = figures.latency
    assert (latency.mean, latency.median, latency.p95, latency.p99, latency.max) == (900, 800, 1500, 2000, 5000)
