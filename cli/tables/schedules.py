"""Schedules, targets, restore tests."""

from __future__ import annotations

from cli.output import NOTHING, Column, Row, Sheet, Table
from cli.tables.cells import Value, duration, local_time


def _moment(key: str) -> Value:
    return lambda row: local_time(row[key]) if row.get(key) else NOTHING


def _machines(row: Row) -> str:
    return ", ".join([*(f"tag {tag}" for tag in row["tags"]), *row["vms"]])


def _flag(text: str) -> str:
    return "green" if text == "yes" else "red"


_NAME = Column("Name", "name")
_ENABLED = Column("Enabled", "enabled", paint=_flag)
_WHEN = Column("When", "when")
_MACHINES = Column("Machines", _machines)
_LAST = Column("Last run", _moment("last_run"))

BACKUPS = Table(
    (
        _NAME,
        _ENABLED,
        _WHEN,
        _MACHINES,
        Column("Target", "target"),
        Column("Keep", lambda row: row["keep"] or "everything"),
        Column("Full one in", "full_interval", right=True),
        _LAST,
    ),
    empty="No schedule of backups.",
)
MIRRORS = Table(
    (
        _NAME,
        _ENABLED,
        _WHEN,
        _MACHINES,
        Column("Peer", "peer"),
        Column("Keep", "keep", right=True),
        Column("Keep there", "peer_keep", right=True),
        Column("Goal", lambda row: duration(row["goal"]) if row["goal"] else NOTHING, right=True),
        _LAST,
    ),
    empty="No schedule of mirrors.",
)
_REPORTS = (
    Column("Report by mail", "mail"),
    Column("Web hook at", "web_hook"),
    Column("On errors only", "errors_only"),
    _LAST,
)
BACKUP = Sheet(
    (
        *BACKUPS.columns[:-1],
        Column("Compressed", "compress"),
        Column("Encrypted for", "recipients"),
        Column("Read back", "verify"),
        Column("Before", "mount"),
        Column("After", "unmount"),
        Column("Restore test", "test_when"),
        Column("Boots when", lambda row: f"{row['test_sign']} {row['test_argument']}" if row["test_when"] else NOTHING),
        Column("Within", lambda row: duration(row["test_timeout"]) if row["test_when"] else NOTHING),
        Column("Pool for tests", "test_pool"),
        Column("Identity file", "identity_file"),
        *_REPORTS,
    )
)
MIRROR = Sheet((*MIRRORS.columns[:-1], Column("Pool there", "pool"), *_REPORTS))
TARGETS = Table((_NAME, Column("URI", "uri"), Column("Credentials", "credentials")), empty="No stored target.")
VERDICTS = Table(
    (
        Column("VM", "vm"),
        Column("Backup", "backup"),
        Column("Time", _moment("time")),
        Column("Kind", lambda row: "increment" if row["parent"] else "full"),
        Column("Kept", "keep", paint=_flag),
        Column("Why", "why"),
    ),
    empty="There is no backup.",
    key="backup",
)
TESTS = Table(
    (
        Column("Time", _moment("time")),
        Column("VM", "vm"),
        Column("Backup", "backup"),
        Column("Passed", "passed", paint=_flag),
        Column("Took", lambda row: duration(row["seconds"]), right=True),
        Column("Result", "message"),
    ),
    empty="No restore test has been made.",
    key="backup",
)
