"""``pvc storage volume upload``."""

from __future__ import annotations

import resource
import socket
import subprocess
import threading
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import pytest

from cli import connections
from cli.connections import Connection

from .terminal import COMMAND, ROOT

PATH = "/storage/ceph/volume/vms/root/upload"


def _file(request) -> tuple[str, bytes]:
    """Name and content of the form's one file."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    (part,) = message_from_bytes(head + request.content, policy=HTTP).iter_parts()
    assert part.get_param("name", header="content-disposition") == "file"
    return part.get_filename(), part.get_payload(decode=True)


@pytest.mark.parametrize(
    ("content", "options", "image_format"),
    [
        (b"\x00" * 100, [], "raw"),
        (b"QFI\xfb rest", [], "qcow2"),
        (b"QFI\xfb rest", ["-f", "raw"], "raw"),
        (b"KDMV", ["--no-wait"], "vmdk"),
    ],
    ids=["raw", "qcow2", "qcow2 sent as raw", "vmdk, not waited for"],
)
def test_the_file_arrives_whole_with_its_format(pvc, api, tmp_path: Path, content, options, image_format) -> None:
    api.accepts("POST", PATH)
    (tmp_path / "disk.img").write_bytes(content)
    assert pvc("storage", "volume", "upload", "vms", "root", str(tmp_path / "disk.img"), *options).exit_code == 0
    (write,) = api.writes()
    assert write.query == {"image_format": [image_format], "file_size": [str(len(content))]}
    assert write.headers["prefer"] == "respond-async"
    assert _file(write) == ("disk.img", content)


def test_a_refusal_before_the_end_is_understood(pvc, home, tmp_path: Path) -> None:
    """The server answers and closes when it has read no more than the head of a large upload."""
    refusal = b'{"message": "there is no volume vms/root", "code": "not_found"}'

    def serve(server: socket.socket) -> None:
        link, _ = server.accept()
        with link:
            link.recv(1024)
            link.sendall(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(refusal))
            link.sendall(refusal)

    with (tmp_path / "disk.img").open("wb") as stream:
        stream.truncate(64 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server:
        connections.save({"lab": Connection("lab", "127.0.0.1", server.getsockname()[1])})
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        result = pvc("storage", "volume", "upload", "vms", "root", str(tmp_path / "disk.img"))
        thread.join()
    assert (result.exit_code, result.stderr) == (1, "Error: there is no volume vms/root\n")


def test_a_file_that_is_none_is_wrong_usage(pvc, api, tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        assert pvc("storage", "volume", "upload", "vms", "root", str(path)).exit_code == 2
    assert api.requests == []


def test_a_large_file_is_not_read_into_memory(api, tmp_path: Path) -> None:
    """256 MiB are sent by a process that may not have that much memory."""
    api.accepts("POST", PATH)
    with (tmp_path / "disk.img").open("wb") as stream:
        stream.truncate(256 << 20)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))

    command = [*COMMAND, "storage", "volume", "upload", "vms", "root", str(tmp_path / "disk.img")]
    result = subprocess.run(command, cwd=ROOT, preexec_fn=limit, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert int(api.writes()[0].headers["content-length"]) > 256 << 20
