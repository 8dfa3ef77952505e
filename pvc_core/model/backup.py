"""Backups that are made by schedule: which machines, where to, how often whole, how long they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from pvc_core.errors import BadRequest


@dataclass(frozen=True, slots=True)
class Retention:
    """How many backups are kept. Each number takes the newest backup of as many hours, days and so on (UTC; weeks as
    in ISO 8601), and a later one counts from where the ones before it have nothing. ``full`` is the older scheme: as
    many full backups, each with its increments. All zero: everything is kept."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    full: int = 0

    @staticmethod
    def parse(text: str) -> Retention:
        """From ``last=3,daily=7``; empty: everything is kept. Raises BadRequest."""
        known = [each.name for each in fields(Retention)]
        numbers: dict[str, int] = {}
        for word in filter(None, (word.strip() for word in text.split(","))):
            name, _, number = word.partition("=")
            name = name.strip().removeprefix("keep-")
            if name not in known or name in numbers or not number.strip().isdecimal():
                raise BadRequest(f"{word!r} does not say what to keep; write such as last=3,daily=7, of {known}")
            numbers[name] = int(number)
        retention = Retention(**numbers)
        if retention.full and any(number for name, number in numbers.items() if name != "full"):
            raise BadRequest("full=... counts full backups only, and does not go with last, hourly and the others")
        return retention

    def __str__(self) -> str:
        return ",".join(f"{each.name}={getattr(self, each.name)}" for each in fields(self) if getattr(self, each.name))


@dataclass(frozen=True, slots=True)
class Backup:
    """One complete backup of one machine. ``parent`` is the name of the one from which it differs, empty for a full
    one."""

    name: str
    time: float  # seconds since the epoch
    parent: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a backup, and why."""

    backup: Backup
    keep: bool
    why: str


@dataclass(frozen=True, slots=True)
class StoredTarget:
    """Where backups are kept, under a name. The credentials are for the drivers alone."""

    name: str
    uri: str
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


class BootSign(StrEnum):
    """How a restored machine shows that it has booted."""

    CONSOLE = "console"  # its serial console shows a pattern
    AGENT = "agent"  # its guest agent answers
    SCRIPT = "script"  # a command on the node succeeds


@dataclass(frozen=True, slots=True)
class RestoreCheck:
    """How it is tried whether a backup restores. ``argument`` is the console's pattern or the command."""

    sign: BootSign
    argument: str = ""
    timeout: float = 300.0  # seconds
    identity_file: str = ""  # on the node: what decrypts the backup
    pool: str = ""  # for the disks; empty: the pools they came from


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """One schedule of backups. Commands are run without a shell."""

    name: str
    target: str  # an absolute directory of the node, or the name of a stored target
    tags: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()  # names or uuids, beside those with a tag
    retention: Retention = Retention()
    full_interval: int = 1  # every so-manieth backup is a full one
    compress: bool = True
    recipients: tuple[str, ...] = ()  # age public keys; none: it is not encrypted
    verify: bool = False
    mail: tuple[str, ...] = ()
    errors_only: bool = False  # a report only when something failed
    web_hook: str = field(default="", repr=False)  # its address may hold a token
    mount: tuple[str, ...] = ()
    unmount: tuple[str, ...] = ()
    test: RestoreCheck | None = None


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """One schedule of mirrors."""

    name: str
    peer: str
    tags: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()
    pool: str = ""
    keep: int = 3  # snapshots here
    peer_keep: int = 3  # snapshots at the other side
    goal: float = 0.0  # seconds of lag after which a fault is raised; 0: none
    mail: tuple[str, ...] = ()
    errors_only: bool = False
    web_hook: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class RestoreTest:
    """How one try ended."""

    schedule: str
    vm: str  # its name
    backup: str
    time: float  # seconds since the epoch, when it ended
    passed: bool
    message: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one machine in a run of a schedule."""

    vm: str  # its name
    succeeded: bool
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """A run of a schedule."""

    cluster: str
    schedule: str
    kind: str  # such as ``autobackup``
    began: float  # seconds since the epoch
    ended: float
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...] = ()  # beside those of single machines

    @property
    def succeeded(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each thing that went wrong."""
        return (*(f"VM {each.vm}: {each.message}" for each in self.outcomes if not each.succeeded), *self.problems)
