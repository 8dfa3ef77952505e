"""Reports by mail and to web hooks."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import urlsplit

import requests

from pvc_core.config import Config, MailConfig
from pvc_core.errors import DriverError
from pvc_core.model.backup import Report

TIMEOUT = 30.0  # seconds


class OutsideReports:
    """See ``pvc_core.ports.Reports``."""

    def __init__(self, config: MailConfig) -> None:
        self._config = config

    def send(self, report: Report, mail: Sequence[str], web_hook: str) -> None:
        problems = []
        if mail:
            try:
                self._mail(report, mail)
            except (OSError, smtplib.SMTPException) as error:
                problems.append(f"mail server {self._config.host or '(none is configured)'}: {error}")
        if web_hook:
            try:
                _post(report, web_hook)
            except (requests.RequestException, ValueError) as error:  # whose texts hold the URL
                problems.append(f"web hook at {urlsplit(web_hook).hostname}: {type(error).__name__}")
        if problems:
            raise DriverError(f"the report was not sent: {'; '.join(problems)}")

    def _mail(self, report: Report, recipients: Sequence[str]) -> None:
        config = self._config
        if not config.host:
            raise OSError("set mail.host in pvc.conf")
        message = EmailMessage()
        message["Subject"], message["From"], message["To"] = subject(report), config.sender, ", ".join(recipients)
        message["Date"], message["Message-ID"] = formatdate(report.ended), make_msgid(domain="pvc")
        message.set_content(text(report))
        with smtplib.SMTP(config.host, config.port, timeout=TIMEOUT) as server:
            if config.starttls:
                server.starttls(context=ssl.create_default_context())
            if config.user:
                server.login(config.user, Config.secret(config.password_file))
            refused = server.send_message(message)
        if refused:
            raise OSError(f"it did not take {', '.join(refused)}")


def _post(report: Report, url: str) -> None:
    document = asdict(report) | {"succeeded": report.succeeded, "text": f"{subject(report)}\n{text(report)}"}
    requests.post(url, json=document, timeout=TIMEOUT, allow_redirects=False).raise_for_status()


def subject(report: Report) -> str:
    """One line."""
    failed = sum(not outcome.succeeded for outcome in report.outcomes)
    result = "succeeded" if report.succeeded else f"{failed} of {len(report.outcomes)} VMs failed"
    if not failed and report.problems:
        result = "has problems"
    where = f"cluster {report.cluster}: " if report.cluster else ""
    return f"PVC {where}{report.kind} {report.schedule}: {result}"


def text(report: Report) -> str:
    """What a person reads: what went wrong first."""
    lines = [f"Began {_time(report.began)}, ended {_time(report.ended)}.", ""]
    lines += [f"PROBLEM  {problem}" for problem in report.problems]
    for outcome in sorted(report.outcomes, key=lambda outcome: (outcome.succeeded, outcome.vm)):
        lines.append(f"{'ok      ' if outcome.succeeded else 'FAILED  '} {outcome.vm}: {outcome.message}")
    return "\n".join(lines) + "\n"


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
