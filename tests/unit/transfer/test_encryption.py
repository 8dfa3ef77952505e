"""Backups that only the holder of a key can read."""

from __future__ import annotations

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest

from pvc_core.errors import BadRequest, DriverError
from pvc_core.transfer.encryption import decrypting, encrypting
from pvc_core.transfer.frames import Damaged

CONTENT = bytes(range(256)) * 4096  # several of age's chunks


@dataclass(frozen=True)
class Pair:
    recipient: str
    identity: str


def generate() -> Pair:
    identity = pyrage.x25519.Identity.generate()
    return Pair(str(identity.to_public()), f"# a comment\n{identity}\n")


@pytest.fixture
def pair() -> Pair:
    return generate()


def encrypted(pair: Pair, content: bytes = CONTENT) -> bytes:
    sink = io.BytesIO()
    with encrypting(sink, [pair.recipient]) as stream:
        stream.write(content)
    return sink.getvalue()


def decrypted(pair: Pair, content: bytes) -> bytes:
    with decrypting(io.BytesIO(content), [pair.identity]) as stream:
        return stream.read()


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_what_was_encrypted_reads_back(pair: Pair, content: bytes) -> None:
    secret = encrypted(pair, content)
    assert decrypted(pair, secret) == content
    assert not content or content[:64] not in secret or len(content) < 2


def test_the_command_age_reads_it_too(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(pair.identity)
    (tmp_path / "disk.age").write_bytes(encrypted(pair))
    command = ["age", "--decrypt", "--identity", "key", "disk.age"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout == CONTENT


def test_an_identity_that_does_not_fit_is_refused(pair: Pair) -> None:
    with pytest.raises(BadRequest, match="other keys"):
        decrypted(generate(), encrypted(pair))


def test_a_flipped_byte_is_found(pair: Pair) -> None:
    secret = bytearray(encrypted(pair))
    secret[-1000] ^= 1
    with pytest.raises(Damaged, match="cannot be decrypted"):
        decrypted(pair, bytes(secret))


def test_what_breaks_off_is_found(pair: Pair) -> None:
    with pytest.raises(Damaged):
        decrypted(pair, encrypted(pair)[:-70000])


def test_a_reader_may_stop_early(pair: Pair) -> None:
    with decrypting(io.BytesIO(encrypted(pair)), [pair.identity]) as stream:
        assert stream.read(10) == CONTENT[:10]


class FullSink(io.BytesIO):
    def write(self, content: object) -> int:
        raise DriverError("the disk is full")


def test_a_sink_that_fails_says_so_itself(pair: Pair) -> None:
    with pytest.raises(DriverError, match="full"), encrypting(FullSink(), [pair.recipient]) as stream:
        stream.write(100 * CONTENT)


def test_an_error_while_writing_goes_through(pair: Pair) -> None:
    sources: dict[str, bytes] = {}
    with pytest.raises(KeyError), encrypting(io.BytesIO(), [pair.recipient]) as stream:
        stream.write(sources["gone"])


@pytest.mark.parametrize("recipient", ["x", "age1nonsense", "AGE-SECRET-KEY-1", "ssh-rsa nonsense"])
def test_what_is_no_public_key_is_refused(recipient: str) -> None:
    with pytest.raises(BadRequest, match="recipient"):
        encrypted(Pair(recipient, ""))


def test_an_identity_is_never_in_the_error() -> None:
    with pytest.raises(BadRequest) as caught:
        decrypted(Pair("", "AGE-SECRET-KEY-1WRONG"), b"")
    assert "WRONG" not in str(caught.value)


def test_without_keys_the_stream_is_left_as_it_is() -> None:
    sink = io.BytesIO()
    with encrypting(sink, ()) as stream:
        stream.write(CONTENT)
    with decrypting(io.BytesIO(sink.getvalue()), ()) as stream:
        assert stream.read() == CONTENT
