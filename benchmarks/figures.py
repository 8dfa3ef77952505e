"""A measured figure, its goal and its limit, and the table they are printed in."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

Statistic = Literal["median", "worst"]


@dataclass(frozen=True)
class Goal:
    """What a figure has to be. ``of`` says whether the median is judged or the worst."""

    bound: float
    at_least: bool = False
    of: Statistic = "median"


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    ``worst`` is the largest measurement, or the 99th percentile of a hundred or more. ``limit`` is the median that
    was measured in the same run for the least that could do this work; None where there is nothing to compare with.
    """

    what: str
    unit: str
    median: float
    worst: float | None = None
    goal: Goal | None = None
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None without a goal."""
        if self.goal is None:
            return None
        value = self.median if self.goal.of == "median" or self.worst is None else self.worst
        return value >= self.goal.bound if self.goal.at_least else value <= self.goal.bound


def from_samples(
    what: str, unit: str, samples: Sequence[float], goal: Goal | None = None, limit: Sequence[float] = ()
) -> Figure:
    """The figure of a row of measurements, beside that of the limit."""
    return Figure(
        what, unit, statistics.median(samples), worst(samples), goal, statistics.median(limit) if limit else None
    )


def worst(samples: Sequence[float]) -> float:
    """The largest of up to a hundred samples, else their 99th percentile."""
    return max(samples) if len(samples) < 100 else statistics.quantiles(samples, n=100, method="inclusive")[98]


def print_table(figures: Sequence[Figure]) -> None:
    table = Table(title="Measured here and now", title_justify="left")
    table.add_column("what")
    for heading in ("median", "worst or p99", "goal", "limit", "of limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("met")
    for figure in figures:
        table.add_row(
            figure.what,
            _number(figure.median, figure.unit),
            _number(figure.worst, figure.unit),
            _goal(figure),
            _number(figure.limit, figure.unit),
            f"{figure.median / figure.limit:.1f} x" if figure.limit else "",
            {True: "[green]yes[/green]", False: "[red]no[/red]", None: ""}[figure.met],
        )
    Console(width=None if Console().is_terminal else 140).print(table)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_round(value)} {unit}".rstrip()


def _round(value: float) -> str:
    digits = 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def _goal(figure: Figure) -> str:
    if figure.goal is None:
        return ""
    sign = "≥" if figure.goal.at_least else "≤"
    judged = " (worst)" if figure.goal.of == "worst" else ""
    return f"{sign} {_round(figure.goal.bound)} {figure.unit}".rstrip() + judged
