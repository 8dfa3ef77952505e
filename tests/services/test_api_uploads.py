"""Disk images from a request to the spool directory and the task that imports them."""

from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.state.cluster import ClusterState
from pvc_web.config import cluster as connections
from pvc_web.tasks.models import Task
from tests.services import world

URL = "/api/v1/storage/ceph/volume/vms/db_disk0/upload"
IMAGE = os.urandom(200_000)
ASYNC = {"HTTP_PREFER": "respond-async"}


@pytest.fixture
def spool() -> Iterator[Path]:
    directory = Path(connections.config().daemon.spool_directory)
    yield directory
    for path in directory.iterdir() if directory.exists() else ():
        path.unlink()


@pytest.fixture
def client(api: Callable[[Role | None], APIClient], cluster: ClusterState, spool: Path) -> APIClient:
    world.populate(cluster)
    return api(Role.ADMINISTRATOR)


def form(image: bytes = IMAGE) -> dict[str, SimpleUploadedFile]:
    return {"file": SimpleUploadedFile("disk.qcow2", image)}


def test_the_file_of_a_form_is_imported_by_this_node(client: APIClient, spool: Path) -> None:
    answer = client.post(f"{URL}?image_format=qcow2", form(), format="multipart", **ASYNC)
    assert answer.status_code == 202, answer.content
    task = Task.objects.get()
    path = Path(task.arguments.pop("path"))
    assert task.arguments == {"pool": "vms", "name": "db_disk0", "image_format": "qcow2", "node": "node1"}
    assert (task.node, task.lane) == ("node1", "bulk")
    assert list(spool.iterdir()) == [path]
    assert path.read_bytes() == IMAGE
    assert path.stat().st_mode & 0o077 == 0


def test_the_image_may_be_the_body_itself(client: APIClient, spool: Path) -> None:
    answer = client.post(
        f"{URL}?image_format=raw&file_size={len(IMAGE)}", IMAGE, content_type="application/octet-stream", **ASYNC
    )
    assert answer.status_code == 202, answer.content
    assert Path(Task.objects.get().arguments["path"]).read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "image_format"),
        ("?image_format=iso", 400, "image_format"),
        ("?image_format=raw&file_size=5", 400, "5 bytes were announced, and 200000 came"),
    ],
)
def test_a_refused_upload_leaves_nothing(client: APIClient, spool: Path, query: str, status: int, message: str) -> None:
    answer = client.post(URL + query, form(), format="multipart")
    assert answer.status_code == status
    assert message in answer.json()["message"]
    assert list(spool.iterdir()) == []
    assert not Task.objects.exists()


def test_a_form_without_a_file_is_refused(client: APIClient) -> None:
    answer = client.post(f"{URL}?image_format=raw", {"image": "text"}, format="multipart")
    assert answer.status_code == 400
    assert "named file" in answer.json()["message"]


def test_an_unknown_volume_is_refused_before_the_body_is_taken(
    client: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> bytes:
        raise AssertionError("the body was read")

    monkeypatch.setattr(WSGIRequest, "read", read)
    url = URL.replace("db_disk0", "nothing")
    assert client.post(f"{url}?image_format=raw", form(), format="multipart").status_code == 404


def test_an_upload_that_does_not_fit_is_refused_before_the_body_is_taken(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    usage = namedtuple("usage", "total used free")(10, 10, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    answer = client.post(f"{URL}?image_format=raw", form(), format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "0 MiB free" in answer.json()["message"]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/octet-stream"])
def test_an_upload_that_breaks_off_is_refused(client: APIClient, spool: Path, kind: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + IMAGE
    answer = client.generic(
        "POST",
        f"{URL}?image_format=raw",
        content_type=kind,
        CONTENT_LENGTH=str(2 * len(body)),
        **{"wsgi.input": BytesIO(body)},
    )
    assert answer.status_code == 400
    assert "broke off after" in answer.json()["message"]
    assert list(spool.iterdir()) == []


def test_an_upload_whose_task_is_refused_leaves_nothing(client: APIClient, spool: Path) -> None:
    client.post(f"{URL}?image_format=raw", form(), format="multipart", **ASYNC)
    before = list(spool.iterdir())
    answer = client.post(f"{URL}?image_format=raw", form(), format="multipart")
    assert answer.json()["code"] == "busy"
    assert list(spool.iterdir()) == before


def test_what_others_left_in_the_spool_is_removed_by_the_next_upload(client: APIClient, spool: Path) -> None:
    client.post(f"{URL}?image_format=raw", form(), format="multipart", **ASYNC)
    (waiting,) = spool.iterdir()
    left = spool / "left.image"
    left.touch()
    fresh = spool / "fresh.upload"
    fresh.touch()
    long_ago = time.time() - 7200
    for path in (waiting, left):
        os.utime(path, (long_ago, long_ago))
    client.post(f"{URL}?image_format=raw", form(), format="multipart")
    assert set(spool.iterdir()) == {waiting, fresh}
