"""Encryption of backups with age (https://age-encryption.org): written for public keys, read with an identity."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

import pyrage

from pvc_core.errors import BadRequest
from pvc_core.transfer.frames import Damaged

T = TypeVar("T")

Key = Any  # pyrage has one class for each kind of key


@contextmanager
def encrypting(sink: IO[bytes], recipients: Sequence[str]) -> Iterator[IO[bytes]]:
    """A stream; what is written to it comes into ``sink`` encrypted for ``recipients`` (``age1...`` or SSH public
    keys); as it is without any. Raises BadRequest for a wrong one."""
    if not recipients:
        yield sink
        return
    keys = read_recipients(recipients)
    encoded, plain = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    guarded = _Guarded(sink)
    worker = _Worker(lambda: pyrage.encrypt_io(encoded, guarded, keys), encoded)
    try:
        yield plain
    except BrokenPipeError:
        worker.finish(plain)
        raise guarded.error or worker.error or BrokenPipeError("the encryption ended early") from None
    except BaseException:
        worker.finish(plain)
        raise
    worker.finish(plain)
    if worker.error is not None:
        raise guarded.error or worker.error


@contextmanager
def decrypting(source: IO[bytes], identities: Sequence[str]) -> Iterator[IO[bytes]]:
    """A stream of what ``source`` has, decrypted; as it is without identities, which are contents of identity files.
    Raises BadRequest when none of them fits, and Damaged when the content is not what was written."""
    if not identities:
        yield source
        return
    keys = [key for content in identities for key in read_identities(content)]
    plain, sink = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    guarded = _Guarded(source)
    worker = _Worker(lambda: pyrage.decrypt_io(guarded, sink, keys), sink)
    try:
        yield plain
    except Damaged:  # it broke off, which has its reason here
        worker.finish(plain)
        if worker.error is None or isinstance(worker.error, BrokenPipeError):
            raise
        raise guarded.error or _why(worker.error) from None
    except BaseException:
        worker.finish(plain)
        raise
    ended = not plain.read(1)
    worker.finish(plain)
    if ended and worker.error is not None:
        raise guarded.error or _why(worker.error)


def read_recipients(recipients: Sequence[str]) -> list[Key]:
    """Raises BadRequest naming the one that is no public key."""
    keys = []
    for text in recipients:
        kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
        try:
            keys.append(kind.Recipient.from_str(text))
        except pyrage.RecipientError:
            raise BadRequest(
                f"{text!r} is no age recipient; give a public key such as age1... or ssh-ed25519 ..."
            ) from None
    return keys


def read_identities(content: str) -> list[Key]:
    """The keys of an identity file. Raises BadRequest, without its content, when there are none."""
    try:
        if content.lstrip().startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(content.encode())]
        lines = (line.strip() for line in content.splitlines())
        keys = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        raise BadRequest("what was given is no age identity, nor an SSH private key without a passphrase") from None
    if not keys:
        raise BadRequest("the identity file has no age identity in it")
    return keys


def read_identity_file(path: str) -> str:
    """Content of an identity file of this node. Raises BadRequest."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"the identity file {path} cannot be read: {getattr(error, 'strerror', error)}") from None


class _Guarded:
    """A stream that remembers what went wrong with it, since pyrage makes its own errors of that."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        return self._remember(lambda: self._stream.read(size))

    def write(self, content: bytes) -> int:
        return self._remember(lambda: self._stream.write(content))

    def flush(self) -> None:
        """The stream's owner sees to that."""

    def _remember(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except BaseException as error:
            self.error = error
            raise


class _Worker:
    """A thread at one end of a pipe, whose end it closes when it is done."""

    def __init__(self, work: Callable[[], object], end: IO[Any]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work, end), name="age", daemon=True)
        self._thread.start()

    def finish(self, other_end: IO[Any]) -> None:
        with suppress(BrokenPipeError):
            other_end.close()
        self._thread.join()

    def _run(self, work: Callable[[], object], end: IO[Any]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits for it
            self.error = error
        finally:
            with suppress(BrokenPipeError):
                end.close()


def _why(error: BaseException) -> Exception:
    if "No matching keys" in str(error):
        return BadRequest("this backup is encrypted for other keys than the identity that was given")
    return Damaged("it cannot be decrypted: it is not what was written")
