"""Benchmarks: several side by side, or one in full."""

from __future__ import annotations

from cli.output import Column, Row, Table, dig, size
from cli.tables.cells import Value


def _figure(test: str, path: str) -> Value:
    """A figure of one test of a run."""

    def value(row: Row) -> object:
        tests = dig(row, "benchmark_result.tests") or []
        found = next((entry for entry in tests if dig(entry, "test.name") == test), None)
        return None if found is None else dig(found, f"figures.{path}")

    return value


def _bandwidth(test: str) -> Value:
    return lambda row: _rate(_figure(test, "bandwidth")(row))


def _rate(value: object) -> str | None:
    return f"{size(round(value))}/s" if isinstance(value, int | float) else None


def _whole(value: object) -> str | None:
    return f"{value:,.0f}".replace(",", " ") if isinstance(value, int | float) else None


def _iops(test: str) -> Value:
    return lambda row: _whole(_figure(test, "iops")(row))


def _micros(path: str) -> Value:
    return lambda row: _whole(dig(row, path))


BENCHMARKS = Table(
    (
        Column("Job", "job"),
        Column("Pool", "benchmark_result.pool"),
        Column("Node", "benchmark_result.node"),
        Column("Seq. read", _bandwidth("seq_read"), right=True),
        Column("Seq. write", _bandwidth("seq_write"), right=True),
        Column("256K read", _bandwidth("rand_read_256K"), right=True),
        Column("256K write", _bandwidth("rand_write_256K"), right=True),
        Column("4K reads/s", _iops("rand_read_4K"), right=True),
        Column("4K writes/s", _iops("rand_write_4K"), right=True),
    ),
    empty="There is no benchmark.",
    key="job",
)

TESTS = Table(
    (
        Column("Test", "test.name"),
        Column("Depth", "test.depth", right=True),
        Column("Bandwidth", lambda row: _rate(dig(row, "figures.bandwidth")), right=True),
        Column("IOPS", lambda row: _whole(dig(row, "figures.iops")), right=True),
        Column("Mean us", _micros("figures.latency.mean"), right=True),
        Column("p95 us", _micros("figures.latency.p95"), right=True),
        Column("p99 us", _micros("figures.latency.p99"), right=True),
        Column("Max us", _micros("figures.latency.max"), right=True),
    ),
    empty="Nothing was measured.",
)

LOADS = Table(
    (
        Column("Test", "test"),
        Column("Node", "node"),
        Column("CPU % mean", "cpu_mean", right=True),
        Column("CPU % max", "cpu_max", right=True),
        Column("Memory MiB", "memory_max", right=True),
        Column("Received", lambda row: _rate(row["received"]), right=True),
        Column("Sent", lambda row: _rate(row["sent"]), right=True),
    ),
    empty="No node has reported meanwhile.",
)


def heading(row: Row) -> str:
    result = row["benchmark_result"]
    return (
        f"{row['job']}: pool {result['pool']} by node {result['node']}, {result['seconds']} s each on a volume of "
        f"{size(result['size'])}"
    )


def loads(row: Row) -> list[Row]:
    """A row for each node in each test."""
    return [
        {"test": entry["test"]["name"], "node": node, **load}
        for entry in row["benchmark_result"]["tests"]
        for node, load in sorted(entry["nodes"].items())
    ]
