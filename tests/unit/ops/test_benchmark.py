"""A pool is measured, what the nodes did meanwhile is kept with it, and its volume is gone afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import BadRequest, Cancelled, Conflict, Failed, NotFound
from pvc_core.model.benchmark import TESTS, Figures, NodeLoad
from pvc_core.model.node import InterfaceStats
from pvc_core.ops.base import Operation
from pvc_core.ops.benchmark import VOLUME, Benchmark, node_load
from tests.unit.ops.house import House, Watcher


def test_each_test_is_done_and_kept_in_order(house: House) -> None:
    watcher = Watcher(house)
    house.run(Benchmark("vms", "before", seconds=5), watcher=watcher)
    kept = house.benchmarks.kept["before"]
    assert [result.test for result in kept.tests] == list(TESTS)
    assert all(isinstance(result.figures, Figures) for result in kept.tests)
    assert (kept.pool, kept.seconds, kept.size) == ("vms", 5, 8 << 30)
    assert "Measuring rand_read_4K (50 %)" in watcher.messages
    assert VOLUME not in house.blocks.volumes("vms")


def test_what_nodes_do_is_counted_from_the_first_report(house: House) -> None:
    stats = house.view.snapshot().nodes["n1"].stats
    assert stats is not None
    reports = [
        replace(stats, time=10.0, cpu_utilization=99.0, interfaces={"eth0": card(1000, 0), "gone": card(5, 5)}),
        replace(stats, time=12.0, cpu_utilization=20.0, interfaces={"eth0": card(3000, 50)}),
        replace(stats, time=14.0, cpu_utilization=40.0, interfaces={"eth0": card(9000, 100)}),
    ]
    expected = NodeLoad(cpu_mean=30.0, cpu_max=40.0, memory_max=4096, received=2000.0, sent=25.0, samples=2)
    assert node_load(reports) == expected


def test_a_cancelled_run_keeps_nothing_and_leaves_nothing(house: House) -> None:
    before = house.picture()
    with pytest.raises(Cancelled) as caught:
        house.run(Benchmark("vms", "before"), watcher=Watcher(house, cancel_at="rand_write_4M (50 %)"))
    assert caught.value.left == ()
    assert house.picture() == before
    assert house.benchmarks.kept == {}


def test_a_program_that_fails_leaves_nothing(house: House) -> None:
    before = house.picture()
    house.bench.broken = "seq_write"
    with pytest.raises(Failed, match="fio: out of luck"):
        house.run(Benchmark("vms", "before"))
    assert house.picture() == before


def test_what_a_killed_run_left_is_taken_away(house: House) -> None:
    house.blocks.create("vms", VOLUME, 4096)
    house.run(Benchmark("vms", "before"), attempt=2)
    assert VOLUME not in house.blocks.volumes("vms")
    assert "before" in house.benchmarks.kept


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        (Benchmark("nopool", "x"), NotFound, "there is no pool 'nopool'"),
        (Benchmark("vms", "../x"), BadRequest, "cannot name a benchmark"),
        (Benchmark("vms", "x", seconds=0), BadRequest, "1 to 3600 seconds"),
        (Benchmark("vms", "x", size=1), BadRequest, "the volume has"),
        (Benchmark("vms", "x", size=290 << 30), Conflict, "could fill it beyond 80%"),
        (Benchmark("vms", "done"), Conflict, "there is a benchmark done already"),
    ],
)
def test_what_cannot_be_is_refused(house: House, operation: Operation, error: type[Exception], message: str) -> None:
    house.benchmarks.kept["done"] = None  # type: ignore[assignment]
    with pytest.raises(error, match=message):
        house.run(operation)
    assert house.bench.measured == []


def card(received: int, sent: int) -> InterfaceStats:
    return InterfaceStats("up", 1000, received, 0, sent, 0)
