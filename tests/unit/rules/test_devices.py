"""Which disk a path or a description means."""

from __future__ import annotations

import pytest

from pvc_core.errors import BadRequest, NotFound
from pvc_core.model.storage import Device
from pvc_core.rules.devices import check, resolve

GB, GIB = 10**9, 1024**3
DISKS = [
    Device("/dev/sdaa", 800_166_076_416, "ATA INTEL SSDSC2BX80"),
    Device("/dev/sdb", 800_166_076_416, "ATA INTEL SSDSC2BX80"),
    Device("/dev/sdc", 2_000_398_934_016, "ATA WDC WD20EFRX"),
    Device("/dev/nvme10n1", 960_197_124_096, "SAMSUNG MZQLB960"),
    Device("/dev/nvme2n1", 960_197_124_096, "SAMSUNG MZQLB960"),
    Device("/dev/sdd", 64 * GIB, "SATADOM"),
]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("detect:INTEL:800GB:0", "/dev/sdb"),
        ("detect:intel:800gb:1", "/dev/sdaa"),
        ("detect:SSDSC2BX80:0.8TB:0", "/dev/sdb"),
        ("detect:WDC:2TB:0", "/dev/sdc"),
        ("detect:samsung:960G:0", "/dev/nvme2n1"),
        ("detect:samsung:960G:1", "/dev/nvme10n1"),
        ("detect:SATADOM:64GiB:0", "/dev/sdd"),
        ("/dev/disk/by-path/anything", "/dev/disk/by-path/anything"),
    ],
)
def test_a_disk_is_found(text: str, path: str) -> None:
    check(text)
    assert resolve(text, DISKS) == path


@pytest.mark.parametrize("text", ["detect:INTEL:800GB:2", "detect:INTEL:900GB:0", "detect:HITACHI:2TB:0"])
def test_what_fits_no_disk_is_refused_with_the_disks_that_there_are(text: str) -> None:
    with pytest.raises(NotFound, match=r"/dev/sdb \(ATA INTEL SSDSC2BX80, 800166076416 bytes\)"):
        resolve(text, DISKS)


def test_sizes_differ_by_three_percent_at_most() -> None:
    disks = [Device("/dev/sda", 776 * GB, "X"), Device("/dev/sdb", 775 * GB, "X")]
    assert resolve("detect:X:800GB:0", disks) == "/dev/sda"
    with pytest.raises(NotFound):
        resolve("detect:X:800GB:1", disks)


@pytest.mark.parametrize(
    "text",
    ["detect:INTEL:800GB", "detect::800GB:0", "detect:INTEL:big:0", "detect:INTEL:800GB:x", "detect:A:1GB:-1", "sdb"],
)
def test_what_is_no_device_is_refused_with_what_would_be(text: str) -> None:
    with pytest.raises(BadRequest, match="detect:NAME:SIZE:ID"):
        check(text)
