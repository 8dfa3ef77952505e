"""Disk images from a request to the spool directory and the task that imports them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.handlers.wsgi import WSGIRequest
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.state.cluster import ClusterState
from pvc_web.api import work
from pvc_web.config import cluster as connections
from pvc_web.storage import outlet
from pvc_web.tasks.models import Task
from tests.services import world
from tests.services.processes import Workers, until

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
        f"{URL}?image_format=qcow2&file_size={len(IMAGE)}", IMAGE, content_type="application/octet-stream", **ASYNC
    )
    assert answer.status_code == 202, answer.content
    assert Path(Task.objects.get().arguments["path"]).read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("", 400, "image_format"),
        ("?image_format=iso", 400, "image_format"),
        ("?image_format=qcow2&file_size=5", 400, "5 bytes were announced, and 200000 came"),
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
        f"{URL}?image_format=qcow2",
        content_type=kind,
        CONTENT_LENGTH=str(2 * len(body)),
        **{"wsgi.input": BytesIO(body)},
    )
    assert answer.status_code == 400
    assert "broke off after" in answer.json()["message"]
    assert list(spool.iterdir()) == []


def test_an_upload_whose_task_is_refused_leaves_nothing(client: APIClient, spool: Path) -> None:
    client.post(f"{URL}?image_format=qcow2", form(), format="multipart", **ASYNC)
    before = list(spool.iterdir())
    answer = client.post(f"{URL}?image_format=qcow2", form(), format="multipart")
    assert answer.json()["code"] == "busy"
    assert list(spool.iterdir()) == before


def test_what_others_left_in_the_spool_is_removed_by_the_next_upload(client: APIClient, spool: Path) -> None:
    client.post(f"{URL}?image_format=qcow2", form(), format="multipart", **ASYNC)
    (waiting,) = spool.iterdir()
    left = spool / "left.image"
    left.touch()
    fresh = spool / "fresh.upload"
    fresh.touch()
    long_ago = time.time() - 7200
    for path in (waiting, left):
        os.utime(path, (long_ago, long_ago))
    client.post(f"{URL}?image_format=qcow2", form(), format="multipart")
    assert set(spool.iterdir()) == {waiting, fresh}


class Taker:
    """In place of the worker that writes the image: takes what comes over the first socket in the spool directory."""

    def __init__(self, spool: Path, limit: int) -> None:
        self._spool = spool
        self._limit = limit
        self.content = b""
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def ended(self) -> bytes:
        self._thread.join()
        return self.content

    def _take(self) -> None:
        until(lambda: any(path.is_socket() for path in self._spool.glob("*")))
        path = next(path for path in self._spool.iterdir() if path.is_socket())
        with socket.socket(socket.AF_UNIX) as source:
            source.connect(str(path))
            while len(self.content) < self._limit and (part := source.recv(65536)):
                self.content += part


@pytest.fixture
def taker(spool: Path) -> Taker:
    return Taker(spool, sys.maxsize)


def test_a_raw_image_in_a_form_goes_to_the_worker_as_it_comes(client: APIClient, spool: Path, taker: Taker) -> None:
    answer = client.post(f"{URL}?image_format=raw&file_size={len(IMAGE)}", form(), format="multipart", **ASYNC)
    assert answer.status_code == 202, answer.content
    task = Task.objects.get()
    assert Path(task.arguments.pop("path")).parent == spool
    assert task.arguments == {"pool": "vms", "name": "db_disk0", "size": len(IMAGE), "node": "node1"}
    assert (task.operation, task.node, task.lane) == ("volume.upload", "node1", "bulk")
    assert taker.ended() == IMAGE
    assert list(spool.iterdir()) == []


def test_a_raw_image_as_the_body_goes_to_the_worker_as_it_comes(client: APIClient, spool: Path, taker: Taker) -> None:
    answer = client.post(f"{URL}?image_format=raw", IMAGE, content_type="application/octet-stream", **ASYNC)
    assert answer.status_code == 202, answer.content
    assert Task.objects.get().arguments["size"] == len(IMAGE)
    assert taker.ended() == IMAGE
    assert list(spool.iterdir()) == []


def test_a_raw_image_of_unknown_size_is_kept_on_disk_first(client: APIClient, spool: Path) -> None:
    answer = client.post(f"{URL}?image_format=raw", form(), format="multipart", **ASYNC)
    assert answer.status_code == 202, answer.content
    assert Task.objects.get().operation == "volume.import"


def test_a_raw_image_whose_sizes_differ_is_refused_before_it_is_taken(client: APIClient, spool: Path) -> None:
    answer = client.post(f"{URL}?image_format=raw&file_size=5", IMAGE, content_type="application/octet-stream")
    assert answer.status_code == 400
    assert "5 bytes were announced, and the body has 200000" in answer.json()["message"]
    assert not Task.objects.exists()


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/octet-stream"])
def test_a_raw_upload_that_breaks_off_ends_the_stream_early(client: APIClient, taker: Taker, kind: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' if "form" in kind else b""
    answer = client.generic(
        "POST",
        f"{URL}?image_format=raw" + ("&file_size=400000" if head else ""),
        content_type=kind,
        CONTENT_LENGTH="400000",
        **{"wsgi.input": BytesIO(head + IMAGE)},
    )
    assert answer.status_code == 400
    assert "broke off after" in answer.json()["message"]
    assert len(taker.ended()) <= len(IMAGE)


def test_when_the_worker_stops_taking_its_task_is_the_answer(client: APIClient, spool: Path) -> None:
    taker = Taker(spool, 10)
    image = os.urandom(4 << 20)
    url = f"{URL}?image_format=raw&file_size={len(image)}"
    answer = client.post(url, image, content_type="application/octet-stream", **ASYNC)
    assert taker.ended()
    assert answer.status_code == 202, answer.content
    assert list(spool.iterdir()) == []


def test_a_task_that_ends_before_it_takes_anything_is_the_answer(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    send = work.send

    def refuse(*arguments: Any) -> Task:
        task = send(*arguments)
        Task.objects.update(state="failed", message="no room", error_code="conflict")
        return task

    monkeypatch.setattr(work, "send", refuse)
    answer = client.post(f"{URL}?image_format=raw", IMAGE, content_type="application/octet-stream")
    assert (answer.status_code, answer.json()["message"]) == (409, "no room")
    assert list(spool.iterdir()) == []


def test_an_upload_that_no_worker_takes_up_is_given_up(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, spool: Path
) -> None:
    monkeypatch.setattr(outlet, "START_LIMIT", 0.0)
    answer = client.post(f"{URL}?image_format=raw", IMAGE, content_type="application/octet-stream")
    assert answer.status_code == 503
    assert Task.objects.get().state == "cancelled"
    assert list(spool.iterdir()) == []


def test_a_worker_takes_an_upload_up_and_its_refusal_is_the_answer(
    client: APIClient, workers: Workers, spool: Path
) -> None:
    workers.start("bulk")
    answer = client.post(f"{URL}?image_format=raw", IMAGE, content_type="application/octet-stream")
    assert answer.status_code == 404, answer.content
    assert answer.json()["message"] == "pool vms does not exist in Ceph"  # in the worker's own, which is a fake
