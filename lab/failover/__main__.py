"""``python -m lab.failover [--runs N] [ROW]...``: the rows of the table, run and printed."""

from __future__ import annotations

import statistics
from urllib.error import HTTPError

import click
from rich.console import Console
from rich.table import Table

from lab.cluster import DEFAULT_STATE
from lab.errors import LabError
from lab.failover.rig import Rig
from lab.failover.rows import ROWS
from lab.failover.run import Outcome, run_once
from lab.main import bring_up

GOAL = 20.0  # seconds, for 95 of 100 recoveries
LONG = 60.0  # a row that lasts longer is run once


@click.command()
@click.option(
    "--runs", type=click.IntRange(1), default=10, show_default=True, help="Runs of each row; long ones run once."
)
@click.option(
    "--name", default="failover", show_default=True, help="The cluster, of the profile full; made if need be."
)
@click.argument("rows", nargs=-1, type=click.Choice(list(ROWS)))
def main(runs: int, name: str, rows: tuple[str, ...]) -> None:
    """Break a cluster in every way of the table and see how long its machines are away. The cluster stays up."""
    rig = Rig(bring_up(name, DEFAULT_STATE, "full", None))
    rig.set_up()
    outcomes = {key: Outcome() for key in rows or ROWS}
    for key, outcome in outcomes.items():
        for number in range(1, (1 if ROWS[key].lasts > LONG else runs) + 1):
            try:
                run_once(rig, ROWS[key], outcome)
                click.echo(
                    f"{key} {number}: {', '.join(f'{s:.1f} s' for s in outcome.seconds[-3:])} {outcome.remarks[-1:]}"
                )
            except (LabError, HTTPError) as error:
                outcome.failures.append(str(error))
                click.echo(f"{key} {number}: failed: {error}", err=True)
    Console(width=160).print(table(outcomes))
    recovered = sorted(second for outcome in outcomes.values() for second in outcome.seconds)
    if len(recovered) > 1:
        worst = statistics.quantiles(recovered, n=20)[-1]
        click.echo(f"95 of 100 recoveries took less than {worst:.1f} s (goal: {GOAL:g} s); there were {len(recovered)}")
    raise SystemExit(any(outcome.failures or outcome.twice for outcome in outcomes.values()))


def table(outcomes: dict[str, Outcome]) -> Table:
    found = Table("situation", "recovered", "runs", "median", "worst", "twice", "remarks")
    for key, outcome in outcomes.items():
        row, seconds = ROWS[key], outcome.seconds
        times = (f"{statistics.median(seconds):.1f} s", f"{max(seconds):.1f} s") if seconds else ("", "")
        recovered = "failed" if outcome.failures else "yes" if row.recovers else "no, as it should be"
        remarks = "; ".join([*outcome.remarks[-1:], *outcome.failures[-1:]])
        found.add_row(row.situation, recovered, str(outcome.runs), *times, str(outcome.twice or "never"), remarks)
    return found


if __name__ == "__main__":
    main()
