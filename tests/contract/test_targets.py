"""What every store of backups does: an object is there wholly or not at all."""

from __future__ import annotations

import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pvc_core.config import CephConfig
from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.drivers.targets.open import open_uri
from pvc_core.errors import BadRequest, DriverError, DriverUnavailable, NotFound
from pvc_core.fakes.targets import FakeTarget
from pvc_core.ports import BackupTarget
from tests.contract.conftest import REAL
from tests.contract.stores import s3_gateway, sftp_server

Store = tuple[str, dict[str, str]]  # URI, credentials


@pytest.fixture(scope="module")
def s3(ceph: CephConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with s3_gateway(ceph.config_file, tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with sftp_server(tmp_path_factory.mktemp("sftp")) as store:
        yield store


def remote(uri: str, credentials: dict[str, str]) -> BackupTarget:
    """A place of its own in a store, which others use too."""
    parts = urlsplit(uri)
    path = f"{parts.path.rstrip('/')}/{uuid.uuid4().hex}/deep"
    return open_uri(parts._replace(path=path).geturl(), credentials)


@pytest.fixture(params=["fake", "directory", *(pytest.param(kind, marks=REAL) for kind in ("s3", "sftp"))])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> BackupTarget:
    if request.param == "fake":
        return FakeTarget()
    if request.param == "directory":
        return DirectoryTarget(str(tmp_path / "not" / "there" / "yet"))
    return remote(*request.getfixturevalue(request.param))


def put(target: BackupTarget, name: str, content: bytes = b"content") -> None:
    with target.write(name) as file:
        file.write(content)


def get(target: BackupTarget, name: str) -> bytes:
    with target.read(name) as file:
        return file.read()


def test_what_was_written_is_read_back(target: BackupTarget) -> None:
    with target.write("vm/s1/disk") as file:
        for number in range(300):
            assert file.write(bytes([number % 256]) * 10_000) == 10_000
    with target.read("vm/s1/disk") as file:
        assert file.read(3) == b"\0\0\0"
        assert len(file.read()) == 3_000_000 - 3


def test_a_store_is_empty_before_anything_is_written(target: BackupTarget) -> None:
    assert list(target.names()) == []


def test_the_names_below_a_prefix_are_sorted(target: BackupTarget) -> None:
    for name in ("vm/s2/b", "vm/s2/a", "vm/s1/c", "vm2/s1/a"):
        put(target, name)
    assert list(target.names("vm/")) == ["vm/s1/c", "vm/s2/a", "vm/s2/b"]
    assert list(target.names("vm/s2")) == ["vm/s2/a", "vm/s2/b"]
    assert len(list(target.names())) == 4


def test_an_object_takes_the_place_of_another(target: BackupTarget) -> None:
    put(target, "a", b"a long one")
    put(target, "a", b"short")
    assert get(target, "a") == b"short"


def break_off(target: BackupTarget, name: str) -> None:
    before = list(target.names())
    with target.write(name) as file:
        file.write(b"x" * 1_000_000)
        assert list(target.names()) == before
        raise ValueError("broke off")


def test_an_object_that_breaks_off_is_not_there(target: BackupTarget) -> None:
    with pytest.raises(ValueError, match="broke off"):
        break_off(target, "vm/a")
    assert list(target.names()) == []
    with pytest.raises(NotFound), target.read("vm/a"):
        pass


def test_an_object_that_breaks_off_leaves_the_one_before(target: BackupTarget) -> None:
    put(target, "a", b"before")
    with pytest.raises(ValueError, match="broke off"):
        break_off(target, "a")
    assert get(target, "a") == b"before"


def test_an_error_of_whoever_reads_is_passed_on(target: BackupTarget) -> None:
    put(target, "a")
    with pytest.raises(ValueError, match="wrong"), target.read("a"):
        raise ValueError("wrong")


def test_several_objects_are_written_at_a_time(target: BackupTarget) -> None:
    with target.write("vm/a") as one, target.write("vm/b") as other:
        one.write(b"one")
        other.write(b"other")
    assert (get(target, "vm/a"), get(target, "vm/b")) == (b"one", b"other")


def test_a_removed_object_is_gone(target: BackupTarget) -> None:
    put(target, "vm/s1/a")
    put(target, "vm/s2/a")
    target.remove("vm/s1/a")
    target.remove("vm/s1/a")
    assert list(target.names()) == ["vm/s2/a"]
    put(target, "vm/s1/a", b"again")
    assert get(target, "vm/s1/a") == b"again"


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/./b"])
def test_a_name_cannot_lead_out_of_the_store(target: BackupTarget, name: str) -> None:
    with pytest.raises(BadRequest):
        target.remove(name)
    with pytest.raises(BadRequest), target.read(name):
        pass
    with pytest.raises(BadRequest), target.write(name):
        pass


@pytest.mark.services
@pytest.mark.parametrize("kind", ["s3", "sftp"])
def test_an_object_of_many_parts_is_read_back(kind: str, request: pytest.FixtureRequest) -> None:
    target = remote(*request.getfixturevalue(kind))
    piece = random.Random(1).randbytes(1 << 20)
    with target.write("large") as file:
        for number in range(70):
            file.write(number.to_bytes(4, "big") + piece)
    with target.read("large") as file:
        for number in range(70):
            read = b""
            while len(read) < len(piece) + 4 and (part := file.read(len(piece) + 4 - len(read))):
                read += part
            assert read == number.to_bytes(4, "big") + piece
        assert file.read(1) == b""


@pytest.mark.services
def test_another_host_key_is_not_trusted(sftp: Store, tmp_path: Path) -> None:
    uri, credentials = sftp
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=True)
    stranger = remote(uri, credentials | {"host_key": (tmp_path / "k.pub").read_text()})
    with pytest.raises(DriverError, match="host key"):
        list(stranger.names())


@pytest.mark.services
@pytest.mark.parametrize(
    ("kind", "wrong"), [("s3", {"secret_key": "wrong"}), ("sftp", {"password": "wrong", "private_key": ""})]
)
def test_wrong_credentials_are_told_and_not_shown(
    kind: str, wrong: dict[str, str], request: pytest.FixtureRequest
) -> None:
    uri, credentials = request.getfixturevalue(kind)
    target = remote(uri, credentials | wrong)
    with pytest.raises(DriverError) as caught, target.write("a") as file:
        file.write(b"x")
    assert not any(secret in str(caught.value) for secret in credentials.values())


@pytest.mark.parametrize(
    ("uri", "credentials"),
    [
        ("s3://bucket?endpoint=http://127.0.0.1:1", {"access_key": "a", "secret_key": "b"}),
        (
            "sftp://u@127.0.0.1:1/d",
            {
                "password": "x",
                "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS",
            },
        ),
    ],
)
def test_a_server_that_is_away_may_be_back_later(uri: str, credentials: dict[str, str]) -> None:
    with pytest.raises(DriverUnavailable):
        list(open_uri(uri, credentials).names())


@pytest.mark.parametrize(
    ("uri", "credentials"),
    [
        ("ftp://x/y", {}),
        ("s3:///x", {"access_key": "a", "secret_key": "b"}),
        ("s3://bucket/x", {}),
        ("s3://bucket/x?secret=1", {"access_key": "a", "secret_key": "b"}),
        ("sftp://host/x", {"password": "x"}),
        ("sftp://u@host/x", {"password": "x"}),
        ("sftp://u@host/x", {"password": "x", "host_key": "nonsense"}),
        ("sftp://u@host:x/x", {"password": "x"}),
    ],
)
def test_what_names_no_store_is_refused(uri: str, credentials: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        open_uri(uri, credentials)
