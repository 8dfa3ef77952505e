"""``pvc cluster backup``, ``restore`` and ``init``: the file on disk, and what is asked of the API."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

DOCUMENT = {"format": "pvc-cluster-backup", "configuration": {"networks": {"100": {"description": "Büro"}}}, "x": 0.1}


@pytest.mark.parametrize("name", ["backup.json", "backup.json.gz"])
def test_a_backup_is_a_file_for_its_owner_alone_and_goes_back_as_it_was(pvc, api, tmp_path: Path, name: str) -> None:
    api.on("GET", "/backup", DOCUMENT)
    api.accepts("POST", "/restore")
    file = tmp_path / name
    assert pvc("cluster", "backup", "-f", str(file)).exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("backup")] == [name]
    content = gzip.decompress(file.read_bytes()) if name.endswith(".gz") else file.read_bytes()
    assert json.loads(content) == DOCUMENT
    result = pvc("cluster", "restore", "-f", str(file), "-y")
    assert result.exit_code == 0, result.output
    (request,) = api.writes()
    assert json.loads(request.body["cluster_data"]) == DOCUMENT
    assert request.query == {"yes-i-really-mean-it": ["yes"]}


def test_without_a_file_it_goes_to_standard_output(pvc, api) -> None:
    api.on("GET", "/backup", DOCUMENT)
    assert json.loads(pvc("cluster", "backup").output) == DOCUMENT


def test_a_file_that_cannot_be_written_leaves_nothing(pvc, api, tmp_path: Path) -> None:
    api.on("GET", "/backup", DOCUMENT)
    result = pvc("cluster", "backup", "-f", str(tmp_path / "none" / "backup"))
    assert result.exit_code != 0
    assert "cannot be written: No such file or directory" in result.output


def test_a_compressed_file_that_is_cut_short_is_not_sent(pvc, api, tmp_path: Path) -> None:
    file = tmp_path / "backup.gz"
    file.write_bytes(gzip.compress(json.dumps(DOCUMENT).encode())[:-9])
    result = pvc("cluster", "restore", "-f", str(file), "-y")
    assert result.exit_code != 0
    assert "is cut short or damaged" in result.output
    assert api.writes() == []


@pytest.mark.parametrize("command", [("restore", "-f", "-"), ("init", "-o")])
def test_without_a_yes_nothing_is_sent(pvc, api, command: tuple[str, ...]) -> None:
    assert pvc("cluster", *command, input="n\n").exit_code != 0
    assert api.writes() == []


def test_init_says_whether_to_overwrite(pvc, api) -> None:
    api.accepts("POST", "/initialize")
    assert pvc("cluster", "init", "-o", "-y").exit_code == 0
    (request,) = api.writes()
    assert request.query == {"yes-i-really-mean-it": ["yes"], "overwrite": ["true"]}
