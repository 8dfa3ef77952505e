"""The file that a cluster's configuration is kept in. What is right about it, the server knows; here it is text."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import IO, Any

from cli.errors import CliError

GZIP = b"\x1f\x8b"  # how a compressed file begins


def text(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)


def write(path: Path, document: Any) -> None:
    """Write the file, readable for its owner alone; it appears whole or not at all. Raises CliError."""
    content = text(document).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CliError(f"{path} cannot be written: {error.strerror}") from None


def read(stream: IO[bytes]) -> str:
    """The text in a file, compressed or not. Raises CliError when there is none."""
    content = stream.read()
    try:
        return (gzip.decompress(content) if content.startswith(GZIP) else content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CliError(f"{stream.name} is cut short or damaged: {error}") from None
