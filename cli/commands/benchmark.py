"""``pvc storage benchmark``: how fast pools are."""

from __future__ import annotations

import click

from cli.options import completer, format_option, pool_argument, wait_option, yes_option
from cli.routes import route
from cli.session import Session, pass_session

complete_job = completer("storage", "ceph", "benchmark", key="job")
job_argument = click.argument("job", shell_complete=complete_job)


@click.command("run")
@pool_argument
@click.option("--name", help="Name of the run; the time of its start when not given.")
@click.option("--seconds", type=click.IntRange(1, 3600), help="How long each of the ten measurements takes.")
@click.option("--size", help="Size of the volume that is made for it, as in 8G.")
@yes_option
@wait_option()
@pass_session
def run_benchmark(
    session: Session, pool: str, name: str | None, seconds: int | None, size: str | None, yes: bool, wait: bool
) -> None:
    """Measure how fast POOL is.

    A volume is made for it, filled, and removed again. Machines whose disks are in the same storage are slow meanwhile.
    """
    from cli.tasks import submit

    session.confirm(f"Measure pool {pool}? That takes ten minutes or more, and slows all machines down.", yes)
    body = {"pool": pool, "name": name, "seconds": seconds, "size": size}
    submit(session, "POST", route("storage", "ceph", "benchmark"), body=body, wait=wait)


@click.command("list")
@click.argument("job", required=False, shell_complete=complete_job)
@format_option("pretty", "json", "json-pretty")
@pass_session
def list_benchmarks(session: Session, job: str | None, style: str) -> None:
    """Show benchmarks side by side, the newest first, or only JOB."""
    from cli.output import show_list
    from cli.tables.benchmarks import BENCHMARKS

    show_list(session.client.get(route("storage", "ceph", "benchmark"), {"job": job}), style, BENCHMARKS)


@click.command("info")
@job_argument
@format_option("pretty", "json", "json-pretty")
@pass_session
def info(session: Session, job: str, style: str) -> None:
    """Show all figures of the benchmark JOB."""
    from cli.output import show_json
    from cli.tables.benchmarks import LOADS, TESTS, heading, loads

    (row,) = session.client.get(route("storage", "ceph", "benchmark"), {"job": job})
    if style != "pretty":
        show_json(row, style)
        return
    click.echo(heading(row))
    click.echo(TESTS.render(row["benchmark_result"]["tests"]))
    click.echo(LOADS.render(loads(row)))


COMMANDS = [info, list_benchmarks, run_benchmark]
