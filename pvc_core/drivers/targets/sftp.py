"""Backups on an SFTP server."""

from __future__ import annotations

import io
import posixpath
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

import paramiko

from pvc_core.drivers.targets.names import UNFINISHED, check_name
from pvc_core.errors import BadRequest, DriverError, DriverUnavailable, NotFound

TIMEOUT = 30.0  # seconds for the server to answer
_AWAY = (paramiko.SSHException, paramiko.ssh_exception.NoValidConnectionsError, EOFError, ConnectionError, TimeoutError)


class SftpTarget:
    """An object is a file below the path, written under another name and renamed when it is whole. Each stream has a
    connection of its own.

    The URI is ``sftp://user@host:port/path``. Credentials: ``password``, or ``private_key`` in OpenSSH's form; and
    ``host_key``, the server's public key as in its ``/etc/ssh/ssh_host_*_key.pub``, without which none is trusted.
    """

    def __init__(self, uri: str, credentials: Mapping[str, str]) -> None:
        try:
            parts = urlsplit(uri)
            self._host, self._port = parts.hostname or "", parts.port or 22
        except ValueError:
            raise BadRequest(f"{uri!r} has no valid port") from None
        self._user = unquote(parts.username or "")
        if not self._host or not self._user or parts.password or len(parts.path) < 2:
            raise BadRequest(f"{uri!r} is not of the form sftp://user@host:port/path")
        self._root = posixpath.normpath(unquote(parts.path))
        self._host_key = _host_key(credentials.get("host_key", ""))
        self._password = credentials.get("password") or None
        self._key = _private_key(credentials.get("private_key", ""))
        if self._password is None and self._key is None:
            raise BadRequest("an SFTP server needs a password or a private_key among its credentials")

    def names(self, prefix: str = "") -> Iterator[str]:
        with self._session("the list of files") as sftp:
            found = [name for name in _walk(sftp, self._root) if name.startswith(prefix)]
        yield from sorted(found)

    @contextmanager
    def read(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        with self._session(path) as sftp, sftp.open(path, "rb") as file:
            file.prefetch(max_concurrent_requests=64)
            yield cast("IO[bytes]", _Stream(file))

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        unfinished = posixpath.join(posixpath.dirname(path), f"{UNFINISHED}{uuid.uuid4().hex}")
        with self._session(path) as sftp:
            _make_directory(sftp, posixpath.dirname(path))
            try:
                with sftp.open(unfinished, "wbx") as file:
                    file.set_pipelined(True)
                    yield cast("IO[bytes]", _Stream(file))
                    file.flush()
                    written = file.tell()
                if sftp.stat(unfinished).st_size != written:
                    raise DriverError(f"{path}: the server has stored less than was sent to it")
                sftp.posix_rename(unfinished, path)
            except BaseException:
                with suppress(OSError, paramiko.SSHException, EOFError):  # what went wrong first is what counts
                    sftp.remove(unfinished)
                raise

    def remove(self, name: str) -> None:
        path = self._path(name)
        with self._session(path) as sftp:
            with suppress(FileNotFoundError):
                sftp.remove(path)
            with suppress(OSError):  # it is not empty
                while (path := posixpath.dirname(path)) != self._root:
                    sftp.rmdir(path)

    def _path(self, name: str) -> str:
        return posixpath.join(self._root, check_name(name))

    @contextmanager
    def _session(self, what: str) -> Iterator[paramiko.SFTPClient]:
        server = f"SFTP server {self._host}"
        try:
            with paramiko.SSHClient() as client:
                name = self._host if self._port == 22 else f"[{self._host}]:{self._port}"
                client.get_host_keys().add(name, self._host_key.get_name(), self._host_key)
                client.set_missing_host_key_policy(paramiko.RejectPolicy())
                client.connect(
                    self._host, self._port, self._user, self._password, self._key,
                    timeout=TIMEOUT, banner_timeout=TIMEOUT, auth_timeout=TIMEOUT, channel_timeout=TIMEOUT,
                    allow_agent=False, look_for_keys=False,
                )  # fmt: skip
                with client.open_sftp() as sftp:
                    channel = sftp.get_channel()
                    if channel is not None:
                        channel.settimeout(TIMEOUT)
                    yield sftp
        except paramiko.BadHostKeyException:
            raise DriverError(f"{server} shows another host key than the one that is known") from None
        except paramiko.AuthenticationException:
            raise DriverError(f"{server} does not let user {self._user} in with these credentials") from None
        except FileNotFoundError:
            raise NotFound(f"{server} has no {what}") from None
        except _AWAY as error:
            raise DriverUnavailable(f"{server}: {str(error) or 'the connection broke off'}") from None
        except OSError as error:
            raise DriverError(f"{server}: {what}: {error.strerror or error}") from None


class _Stream(io.RawIOBase):
    """Paramiko's file as others are: it answers how much it has written."""

    def __init__(self, file: paramiko.SFTPFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return bytes(self._file.read(None if size < 0 else size))

    def write(self, content: Any) -> int:
        self._file.write(content)
        return len(content)


def _walk(sftp: paramiko.SFTPClient, root: str, below: str = "") -> Iterator[str]:
    try:
        entries = sftp.listdir_attr(posixpath.join(root, below))
    except FileNotFoundError:
        return
    for entry in entries:
        name = posixpath.join(below, entry.filename)
        if stat.S_ISDIR(entry.st_mode or 0):
            yield from _walk(sftp, root, name)
        elif not entry.filename.startswith(UNFINISHED):
            yield name


def _make_directory(sftp: paramiko.SFTPClient, path: str) -> None:
    try:
        sftp.stat(path)
    except FileNotFoundError:
        if path != "/":
            _make_directory(sftp, posixpath.dirname(path))
        with suppress(OSError):  # another has made it meanwhile; if not, opening the file tells
            sftp.mkdir(path, 0o700)


def _host_key(text: str) -> paramiko.PKey:
    words = text.split()
    try:
        return paramiko.PKey.from_type_string(words[0], paramiko.hostkeys.decodebytes(words[1].encode()))
    except (IndexError, ValueError, paramiko.SSHException, paramiko.UnknownKeyType):
        raise BadRequest("host_key must be the server's public key, such as ssh-ed25519 AAAA...") from None


def _private_key(text: str) -> paramiko.PKey | None:
    if not text:
        return None
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError):
            return kind.from_private_key(io.StringIO(text))
    raise BadRequest("private_key is no key in OpenSSH's form without a passphrase")
