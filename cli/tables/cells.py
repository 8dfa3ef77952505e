"""Cells that several tables share: colours, units, times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from cli.output import NOTHING, Row, dig, size

Value = Callable[[Row], object]

_COLOURS = {
    "green": ("start", "run", "ready", "primary", "run,ready", "up,in", "SUCCESS", "off"),
    "yellow": ("init", "migrate", "restart", "shutdown", "provision", "flush", "unflush", "flushed", "PENDING", "on"),
    "red": ("stop", "fail", "disable", "dead", "fenced", "FAILURE", "new", "superseded"),
    "cyan": ("RUNNING", "secondary", "hypervisor", "mirror"),
    "magenta": ("REVOKED", "handing"),
}
_STATES = {state: colour for colour, states in _COLOURS.items() for state in states}


def by_state(text: str) -> str | None:
    return _STATES.get(text)


def by_health(text: str) -> str | None:
    share = text.removesuffix(" %")
    if not share.isdecimal():
        return None
    return "green" if int(share) > 90 else "yellow" if int(share) > 50 else "red"


def if_any(text: str) -> str | None:
    """Red for something that should not be there."""
    return None if text == NOTHING else "red"


def percent(path: str) -> Value:
    return lambda row: None if dig(row, path) is None else f"{dig(row, path)} %"


def mebibytes(path: str) -> Value:
    return lambda row: None if dig(row, path) is None else f"{dig(row, path)} MiB"


def amount(path: str) -> Value:
    return lambda row: size(dig(row, path))


def names(path: str) -> Value:
    return lambda row: [entry["name"] for entry in dig(row, path) or []]


def by_state_counts(path: str) -> Value:
    """A total with its parts by state: ``3: 2 run,ready; 1 dead,ready``."""

    def text(row: Row) -> str:
        counts: Mapping[str, int] = dig(row, path) or {}
        parts = "; ".join(f"{count} {state}" for state, count in counts.items() if state != "total" and count)
        return f"{counts.get('total', 0)}: {parts}" if parts else str(counts.get("total", 0))

    return text


def moment(value: object) -> str:
    """A point in time of the API (ISO 8601) as local time."""
    return datetime.fromisoformat(str(value)).astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else NOTHING


def utc_moment(path: str) -> Value:
    """The same of one without time zone, which is in UTC."""
    return lambda row: moment(f"{dig(row, path)}+00:00" if dig(row, path) else None)


def duration(value: object) -> str:
    """Seconds as a person says them."""
    if not isinstance(value, int | float):
        return NOTHING
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def ago(value: object) -> str:
    """How long ago, from seconds."""
    return NOTHING if value is None else f"{duration(value)} ago"


def local_time(seconds: object) -> str:
    """Seconds since the epoch as local time."""
    return datetime.fromtimestamp(float(str(seconds))).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(seconds: object) -> str:
    """Whole seconds in the two largest units of time that they fill."""
    left = int(str(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
