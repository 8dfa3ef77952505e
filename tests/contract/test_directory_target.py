"""What only a directory does: it says when it is full, and clears away what was left by who was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.drivers.targets.open import open_uri
from pvc_core.errors import BadRequest, DriverError

KILLED = """
import os, sys
from pvc_core.drivers.targets.directory import DirectoryTarget
with DirectoryTarget(sys.argv[1]).write("vm/s1/disk") as file:
    file.write(b"x" * 100_000)
    file.flush()
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.getuid():
        pytest.skip("only root can mount one")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_named_and_nothing_half_is_left(small: Path) -> None:
    target = DirectoryTarget(str(small))
    with pytest.raises(DriverError, match=f"{small} is full; free some space"), target.write("vm/s1/disk") as file:
        file.write(b"x" * 400_000)
    assert list(small.iterdir()) == []


def test_what_a_killed_writer_left_is_cleared_away_by_the_next_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    target = DirectoryTarget(str(tmp_path))
    assert len(list((tmp_path / "vm/s1").iterdir())) == 1
    assert list(target.names()) == []
    with target.write("vm/s1/disk") as file:
        file.write(b"whole")
    assert [path.name for path in (tmp_path / "vm/s1").iterdir()] == ["disk"]


def test_backups_are_for_root_alone(tmp_path: Path) -> None:
    with DirectoryTarget(str(tmp_path)).write("vm/s1/disk") as file:
        file.write(b"secret")
    assert (tmp_path / "vm/s1/disk").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "vm").stat().st_mode & 0o777 == 0o700


def test_empty_directories_go_with_their_last_file(tmp_path: Path) -> None:
    target = DirectoryTarget(str(tmp_path))
    with target.write("vm/s1/disk") as file:
        file.write(b"x")
    target.remove("vm/s1/disk")
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_is_no_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverError, match=f"{tmp_path}/file"), DirectoryTarget(str(tmp_path / "file")).write("a"):
        pass


@pytest.mark.parametrize("where", ["backups", "", "http://x/y", "file://host/path"])
def test_what_names_no_store_is_refused(where: str) -> None:
    with pytest.raises(BadRequest):
        open_uri(where, {})


def test_a_directory_is_named_by_its_path_or_as_a_uri(tmp_path: Path) -> None:
    for where in (str(tmp_path), f"file://{tmp_path}"):
        with open_uri(where, {}).write("a") as file:
            file.write(b"x")
    assert (tmp_path / "a").read_bytes() == b"x"
