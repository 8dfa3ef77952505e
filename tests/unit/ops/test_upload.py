"""Images that are written into a volume as they come."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed
from pvc_core.model.vm import VmState
from pvc_core.ops.volume_import import BLOCK, VolumeUpload
from tests.unit.ops.house import House, Watcher

CONTENT = os.urandom(BLOCK) + bytes(BLOCK) + os.urandom(1000)


@contextmanager
def upload(house: House, content: bytes = CONTENT, *, ends: bool = True) -> Iterator[str]:
    """Somebody who hands ``content`` to whoever connects, and then ends the stream, or is silent."""
    path = house.spool / "u"
    over = threading.Event()

    def serve() -> None:
        with suppress(OSError):  # the operation takes no more, or never came
            connection, _ = listener.accept()
            with connection:
                connection.sendall(content)
                if not ends:
                    over.wait()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(path)
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)  # for one that nobody connected to
            thread.join()
            path.unlink()


def operation(path: str, size: int = len(CONTENT)) -> VolumeUpload:
    return VolumeUpload("vms", "a", path, size, "n1")


@pytest.mark.parametrize("there", [True, False])
def test_what_comes_is_written(house: House, there: bool) -> None:
    if there:
        house.volume("a", 4 * BLOCK)
        with house.blocks.open("vms", "a", writable=True) as image:
            image.write(0, b"x" * 4 * BLOCK)
    with upload(house) as path:
        house.run(operation(path), watcher=(watcher := Watcher(house)))
    with house.blocks.open("vms", "a") as image:
        assert image.read(0, len(CONTENT)) == CONTENT
        assert image.size == (4 * BLOCK if there else len(CONTENT))
    assert any("50 %" in message or "49 %" in message for message in watcher.messages)
    assert house.blocks.inspect("vms", "a") == house.view.snapshot().volumes["vms/a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(CONTENT[:-1], "broke off after 8389607 of 8389608 bytes"), (CONTENT + b"x", "more came than the 8389608 bytes")],
    ids=["less", "more"],
)
def test_an_upload_of_another_length_fails_and_a_new_volume_is_taken_away(
    house: House, content: bytes, words: str
) -> None:
    before = house.picture()
    with upload(house, content) as path, pytest.raises(Failed, match=words) as caught:
        house.run(operation(path))
    assert caught.value.left == ()
    assert house.picture() == before


def test_of_a_volume_that_was_there_it_says_what_is_left(house: House) -> None:
    house.volume("a", 4 * BLOCK)
    with upload(house, CONTENT[:BLOCK]) as path, pytest.raises(Failed) as caught:
        house.run(operation(path))
    assert "volume vms/a holds a part of the image" in caught.value.left[0]


def test_a_silent_upload_is_cancelled(house: House) -> None:
    before = house.picture()
    watcher = Watcher(house, cancel_at="4.0 MiB of")
    with upload(house, CONTENT[:BLOCK], ends=False) as path, pytest.raises(Cancelled):
        house.run(operation(path), watcher=watcher)
    assert house.picture() == before


def test_an_upload_that_nobody_sends_any_more_is_refused(house: House) -> None:
    before = house.picture()
    with pytest.raises(Failed, match="the upload has ended: send it again"):
        house.run(operation(str(house.spool / "gone")))
    assert house.picture() == before


def test_an_upload_from_elsewhere_is_refused(house: House) -> None:
    with pytest.raises(BadRequest, match="does not lie in this node's spool directory"):
        house.run(operation("/run/other.socket"))


def test_an_upload_into_the_disk_of_a_running_machine_is_refused(house: House) -> None:
    house.define(1, VmState.START)
    with pytest.raises(Conflict, match="volume vms/disk1 is a disk of VM vm1, which runs"):
        house.run(VolumeUpload("vms", "disk1", str(house.spool / "u"), 1, "n1"))
