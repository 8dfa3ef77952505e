"""Which start of which daemon this is: the lock that keeps it single, and the counter of its starts."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from pvc_core.errors import BadRequest, Conflict

LOCK = "pvc-node.lock"
RECORD = "pvc-node.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """``booted``: this is the first start of the daemon since the node was booted."""

    boot_id: str
    incarnation: int
    booted: bool


@dataclass(frozen=True, slots=True)
class _Record:
    boot_id: str = ""
    incarnation: int = 0


def lock(state_directory: Path) -> IO[str]:
    """Hold the lock for as long as the answer is open. Raises Conflict naming the process that has it."""
    try:
        state_directory.mkdir(parents=True, exist_ok=True)
        file = (state_directory / LOCK).open("a+")
    except OSError as error:
        raise BadRequest(f"the state directory {state_directory} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise Conflict(f"the node daemon runs already on this node, as process {holder}") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def begin(state_directory: Path, boot_id_file: Path) -> Identity:
    """Count this start, on disk before it is used, so that no two starts share a number."""
    try:
        boot_id = boot_id_file.read_text().strip()
    except OSError as error:
        raise BadRequest(f"the boot id {boot_id_file} cannot be read: {error.strerror}") from None
    path = state_directory / RECORD
    last = _read(path)
    record = _Record(boot_id, last.incarnation + 1)
    _replace(path, msgspec.json.encode(record))
    return Identity(boot_id, record.incarnation, booted=boot_id != last.boot_id)


def _read(path: Path) -> _Record:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Record)
    except FileNotFoundError:
        return _Record()
    except msgspec.DecodeError as error:
        raise BadRequest(f"{path} is damaged ({error}); remove it to begin anew") from None


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
