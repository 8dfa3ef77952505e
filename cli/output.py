"""How documents of the API are shown: as tables and sheets for people, as JSON or plain names for programs.

A kind is described once, as a ``Table`` or ``Sheet`` in ``tables.py``; nothing else formats columns.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

Row = Mapping[str, Any]
Painter = Callable[[str], str | None]  # from a cell's text to the name of its colour

NOTHING = "-"
GAP = "  "
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_CONTROL = re.compile(r"(\x1b\[[0-9;]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or line of a sheet. ``value`` is a dotted path into the document, or a function of it."""

    title: str
    value: str | Callable[[Any], object]
    right: bool = False
    paint: Painter | None = None

    def text(self, row: Row) -> str:
        return as_text(self.value(row) if callable(self.value) else dig(row, self.value))


@dataclass(frozen=True, slots=True)
class Table:
    """A list of entities. ``key`` is what ``--format raw`` prints of each; ``empty`` is said when there is none."""

    columns: tuple[Column, ...]
    empty: str
    key: str = "name"

    def render(self, rows: Sequence[Row]) -> str:
        if not rows:
            return self.empty
        cells = [[column.text(row) for column in self.columns] for row in rows]
        titles = [column.title for column in self.columns]
        sizes = [max(width(line[i]) for line in (titles, *cells)) for i in range(len(titles))]
        lines = [self._line(titles, sizes, titles=True)]
        lines += [self._line(line, sizes) for line in cells]
        return "\n".join(lines)

    def _line(self, cells: Sequence[str], sizes: Sequence[int], titles: bool = False) -> str:
        parts = []
        for column, text, size in zip(self.columns, cells, sizes, strict=True):
            fill = " " * (size - width(text))
            if titles:
                shown = click.style(text, bold=True)
            else:
                shown = _painted(text, column.paint)
            parts.append(fill + shown if column.right else shown + fill)
        return GAP.join(parts).rstrip()


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a sheet: lines of its own under a title, or a table. The table's ``rows`` are a dotted path into the
    document, or a function of it."""

    title: str
    fields: tuple[Column, ...] = ()
    table: Table | None = None
    rows: str | Callable[[Any], list[Any]] = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One entity: lines of title and value, then sections. Those in ``more`` are shown by ``--format long`` only."""

    fields: tuple[Column, ...]
    sections: tuple[Section, ...] = ()
    more: tuple[Section, ...] = ()

    def render(self, row: Row, long: bool = False) -> str:
        lines = _fields(self.fields, row)
        for section in self.sections + (self.more if long else ()):
            lines += ["", click.style(section.title, bold=True)]
            if section.table:
                rows = section.rows(row) if callable(section.rows) else dig(row, section.rows)
                body = section.table.render(rows or []).splitlines()
            else:
                body = _fields(section.fields, row)
            lines += [f"{GAP}{line}" for line in body]
        return "\n".join(lines)


def show_list(rows: Sequence[Row], style: str, table: Table, document: object = None) -> None:
    """Print a list. JSON shows ``document`` where the list is only a part of what the API answered."""
    if style.startswith("json"):
        show_json(rows if document is None else document, style)
    elif style == "raw":
        for row in rows:
            click.echo(as_text(dig(row, table.key)))
    else:
        click.echo(table.render(rows))


def show_item(row: Row, style: str, sheet: Sheet) -> None:
    if style.startswith("json"):
        show_json(row, style)
    else:
        click.echo(sheet.render(row, long=style == "long"))


def show_json(document: object, style: str) -> None:
    click.echo(json.dumps(document, indent=4 if style == "json-pretty" else None))


def dig(row: Any, path: str) -> Any:
    """The value at a dotted path; None where the document has no such thing."""
    for key in path.split("."):
        if not isinstance(row, Mapping):
            return None
        row = row.get(key)
    return row


def as_text(value: object) -> str:
    """A value as a person reads it, on one line and without control characters, which may come from a guest."""
    if value is None or value == "" or value == [] or value == "None":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(as_text(item) for item in value)
    text = str(value)
    return text if text.isascii() and text.isprintable() else _CONTROL.sub("", " ".join(text.split()))


def log_text(text: str) -> str:
    """Lines of a log, with colours but without any other control sequence: a guest must not steer the terminal."""
    return _CONTROL.sub(lambda match: match.group(1) or "", text)


def width(text: str) -> int:
    """Columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def size(count: object) -> str:
    """A number of bytes with a binary unit."""
    if not isinstance(count, int | float):
        return NOTHING
    amount, unit = float(count), 0
    while abs(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}" if unit else f"{amount:.0f} B"


def _fields(fields: Sequence[Column], row: Row) -> list[str]:
    size = max(width(field.title) for field in fields)
    return [f"{field.title:<{size}}{GAP}{_painted(field.text(row), field.paint)}" for field in fields]


def _painted(text: str, paint: Painter | None) -> str:
    colour = paint(text) if paint else None
    return click.style(text, fg=colour) if colour else text
