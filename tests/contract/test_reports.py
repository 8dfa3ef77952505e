"""Reports, to a mail server and a web hook on loopback."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from pvc_core.config import MailConfig
from pvc_core.drivers.reports import OutsideReports
from pvc_core.errors import DriverError
from pvc_core.model.backup import Outcome, Report

OUTCOMES = (Outcome("web", True, "full backup, 1.2 GiB"), Outcome("db", False, "the disk is full"))
REPORT = Report("fsid", "nightly", "autobackup", 1_700_000_000.0, 1_700_000_600.0, OUTCOMES, ("umount: busy",))


@dataclass
class Outside:
    """What arrived, and where. ``refused`` are the addresses that the mail server does not take."""

    mails: list[tuple[list[str], Any]] = field(default_factory=list)
    posts: list[dict[str, Any]] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    status: int = 200
    mail_port: int = 0
    hook: str = ""


@pytest.fixture
def outside() -> Iterator[Outside]:
    found = Outside()

    class Mail(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            recipients: list[str] = []
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                answer = b"250 yes\r\n"
                if verb == b"RCPT":
                    address = line.partition(b"<")[2].partition(b">")[0].decode()
                    if address in found.refused:
                        answer = b"550 unknown\r\n"
                    else:
                        recipients.append(address)
                elif verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    content = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        content += part
                    found.mails.append((recipients, message_from_bytes(content, policy=policy.default)))
                elif verb == b"QUIT":
                    answer = b"221 bye\r\n"
                self.wfile.write(answer)

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)) as port:
        found.mail_port = port
        with _serving(HTTPServer(("127.0.0.1", 0), Hook)) as hook_port:
            found.hook = f"http://127.0.0.1:{hook_port}/secret-path"
            yield found


@contextmanager
def _serving(server: Any) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def reports(outside: Outside) -> OutsideReports:
    return OutsideReports(MailConfig("127.0.0.1", outside.mail_port, "pvc@example.com"))


def test_a_mail_says_first_what_went_wrong(outside: Outside) -> None:
    reports(outside).send(REPORT, ["a@example.com", "b@example.com"], "")
    ((recipients, mail),) = outside.mails
    assert recipients == ["a@example.com", "b@example.com"]
    assert "nightly: 1 of 2 VMs failed" in mail["Subject"]
    lines = mail.get_content().splitlines()
    assert [line for line in lines if "busy" in line or "db" in line or "web" in line] == [
        "PROBLEM  umount: busy",
        "FAILED   db: the disk is full",
        "ok       web: full backup, 1.2 GiB",
    ]


def test_a_web_hook_gets_it_as_json(outside: Outside) -> None:
    reports(outside).send(REPORT, [], outside.hook)
    (post,) = outside.posts
    assert post["succeeded"] is False
    assert post["outcomes"][1] == {"vm": "db", "succeeded": False, "message": "the disk is full"}
    assert outside.mails == []


def test_one_that_fails_does_not_keep_the_other_from_it_and_tells_no_secret(outside: Outside) -> None:
    outside.status = 500
    with pytest.raises(DriverError) as caught:
        reports(outside).send(REPORT, ["a@example.com"], outside.hook)
    assert len(outside.mails) == 1
    assert "web hook at 127.0.0.1" in str(caught.value)
    assert "secret-path" not in str(caught.value)


def test_an_address_that_is_refused_is_told(outside: Outside) -> None:
    outside.refused = ("b@example.com",)
    with pytest.raises(DriverError, match=r"b@example\.com"):
        reports(outside).send(REPORT, ["a@example.com", "b@example.com"], "")
    assert outside.mails[0][0] == ["a@example.com"]


def test_without_a_mail_server_it_says_what_to_set() -> None:
    with pytest.raises(DriverError, match=r"mail\.host"):
        OutsideReports(MailConfig()).send(REPORT, ["a@example.com"], "")
