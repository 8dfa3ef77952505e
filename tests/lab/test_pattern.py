"""The guest's pattern as the guest itself writes it: on plain files, under QEMU, killed at any moment."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from lab import pattern
from lab.guest import build

BLOCK_KIB = 64
DISK_BLOCKS = 16  # few, so that it goes round soon
DISKS = 2
LIMIT = 120  # seconds; it boots without KVM


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pattern")
    build(directory / "guest")
    for number in range(DISKS):
        (directory / f"disk{number}").write_bytes(bytes(DISK_BLOCKS * BLOCK_KIB << 10))
    return directory


@contextmanager
def running(directory: Path) -> Iterator[Path]:
    """The console of a guest that runs, and is killed in the end."""
    console = directory / "console"
    console.write_bytes(b"")
    devices = ["-drive", f"file={directory}/guest,format=raw,if=none,id=g"]
    devices += ["-device", "virtio-blk-pci,drive=g,bootindex=1"]
    for number in range(DISKS):
        serial = pattern.serial(number, DISKS, BLOCK_KIB)
        devices += ["-drive", f"file={directory}/disk{number},format=raw,if=none,id=p{number}"]
        devices += ["-device", f"virtio-blk-pci,drive=p{number},serial={serial}"]
    argv = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "256", "-nodefaults", "-display", "none"]
    process = subprocess.Popen([*argv, "-serial", f"file:{console}", *devices])
    try:
        yield console
    finally:
        process.kill()
        process.wait()


def wait(console: Path, expression: str, at_least: int) -> int:
    """The last number that the console shows after ``expression``, once it is large enough."""
    deadline = time.monotonic() + LIMIT
    while True:
        numbers = re.findall(rf"guest: {expression} (\d+)", console.read_text(errors="replace"))
        if numbers and int(numbers[-1]) >= at_least:
            return int(numbers[-1])
        assert time.monotonic() < deadline, f"{expression} did not reach {at_least}"
        time.sleep(0.1)


def check(directory: Path) -> pattern.Report:
    with ExitStack() as stack:
        images = [stack.enter_context(pattern.opened(str(directory / f"disk{n}"))) for n in range(DISKS)]
        return pattern.check(images, BLOCK_KIB << 10)


@pytest.mark.timeout(4 * LIMIT)
def test_a_guest_that_is_killed_leaves_no_gap_and_goes_on_where_it_was(directory: Path) -> None:
    last = 0
    for goal in (10, 50, 70):
        with running(directory) as console:
            # One more, if it was killed between the header of a block and its end.
            assert wait(console, "pattern continues after", 0) in (last, last + 1)
            wait(console, "pattern", goal)
        report = check(directory)
        assert report.wrong == ()
        assert report.last >= goal
        assert report.whole >= min(report.last, DISKS * DISK_BLOCKS - 1)
        last = report.last


def test_a_block_that_is_put_back_is_found(directory: Path) -> None:
    """The last block but one is replaced by what was there a round before, as a copy does that came too late."""
    report = check(directory)
    slot = (report.last - 2) % (DISKS * DISK_BLOCKS)
    older = pattern.block(report.last - 1 - DISKS * DISK_BLOCKS, bytes((BLOCK_KIB << 10) - pattern.HEADER))
    with (directory / f"disk{slot % DISKS}").open("r+b") as disk:
        disk.seek(slot // DISKS * (BLOCK_KIB << 10))
        disk.write(older)
    assert check(directory).wrong[0].startswith(f"block {report.last - 1} is missing")
