"""Starts are counted, boots are told apart, and there is one daemon a node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvc_core.errors import BadRequest, Conflict
from pvc_node import identity
from pvc_node.identity import Identity


@pytest.fixture
def boot_id(tmp_path: Path) -> Path:
    path = tmp_path / "boot_id"
    path.write_text("first\n")
    return path


def test_each_start_has_a_number_of_its_own_and_knows_whether_the_node_was_booted(
    tmp_path: Path, boot_id: Path
) -> None:
    assert identity.begin(tmp_path, boot_id) == Identity("first", 1, booted=True)
    assert identity.begin(tmp_path, boot_id) == Identity("first", 2, booted=False)
    boot_id.write_text("second\n")
    assert identity.begin(tmp_path, boot_id) == Identity("second", 3, booted=True)


def test_a_damaged_count_and_a_missing_boot_id_are_named(tmp_path: Path, boot_id: Path) -> None:
    with pytest.raises(BadRequest, match=r"the boot id .*nowhere cannot be read"):
        identity.begin(tmp_path, tmp_path / "nowhere")
    (tmp_path / identity.RECORD).write_text("{")
    with pytest.raises(BadRequest, match=r"pvc-node\.json is damaged"):
        identity.begin(tmp_path, boot_id)


def test_a_second_daemon_on_the_node_is_told_of_the_first(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    with (
        identity.lock(directory),
        pytest.raises(Conflict, match=f"runs already on this node, as process {os.getpid()}"),
    ):
        identity.lock(directory)
    identity.lock(directory).close()


def test_an_unusable_state_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match=r"the state directory .* cannot be used"):
        identity.lock(tmp_path / "file" / "below")
