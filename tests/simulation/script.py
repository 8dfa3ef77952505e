"""Fault scripts: what is done to a cluster, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.simulation.layout import Layout

WARM_UP = 12.0  # seconds until the first fault: all machines run by then


@dataclass(frozen=True)
class Step:
    """One thing that happens ``at`` so many seconds, to ``node`` where it is about one. ``seconds`` says when it is
    over, and 0 that it lasts; ``what`` and ``number`` are for the kinds that need them. The kinds are the methods of
    tests.simulation.faults.Faults."""

    at: float
    do: str
    node: str = ""
    what: str = ""
    seconds: float = 0.0
    number: float = 0.0

    def __str__(self) -> str:
        fields = [self.node, self.what, f"{self.number:g}" if self.number else ""]
        lasting = f"for {self.seconds:.1f} s" if self.seconds else ""
        return " ".join(part for part in (f"{self.at:6.1f} s:", self.do, *fields, lasting) if part)


@dataclass(frozen=True)
class _Pick:
    """What is drawn for a fault of whatever kind: where, and for how long."""

    rng: random.Random
    layout: Layout
    node: str
    seconds: float

    def step(
        self, do: str, what: str = "", *, node: str | None = None, seconds: float | None = None, number: float = 0
    ):
        return Step(
            0.0, do, self.node if node is None else node, what, self.seconds if seconds is None else seconds, number
        )

    def strike(self) -> Step:
        calls = self.rng.choice(_CALLS)
        number = self.rng.randint(1, 4 if calls else 25)
        what = self.rng.choice(_STRIKES) + calls
        return self.step("strike_fencer", what, node="", seconds=self.seconds or 15.0, number=number)

    @property
    def machine(self) -> str:
        return self.rng.choice(self.layout.machines).name

    def about(self, *seconds: float) -> float:
        return self.rng.choice(seconds) * self.rng.uniform(0.7, 1.3)


_SILENCING = ("crash", "panic", "pause", "freeze", "kill_daemon", "cut", "cut_zookeeper")
_NETWORKS = ("cluster", "cluster", "storage", "bmc", "cluster+storage", "cluster+storage+bmc", "cluster+bmc")
_STRIKES = ("kill", "freeze", "pause", "pause", "crash")
_CALLS = (" ceph.shut_out", " ceph.readmit", " bmc", " store.commit", "", "")
_STATES = ("start", "start", "stop", "shutdown", "disable")
_KINDS: dict[str, tuple[int, Callable[[_Pick], Step]]] = {  # with their weights
    "crash": (4, lambda p: p.step("crash", p.rng.choice(("", "bmc")), seconds=p.rng.choice((0.0, p.about(3.0, 40.0))))),
    "panic": (2, lambda p: p.step("panic", seconds=p.about(1.0, 4.0))),
    "pause": (5, lambda p: p.step("pause", seconds=p.about(3.0, 8.0, 11.0, 14.0, 20.0, 60.0))),
    "freeze": (3, lambda p: p.step("freeze", seconds=p.about(3.0, 8.0, 11.0, 14.0, 20.0, 60.0))),
    "kill_daemon": (2, lambda p: p.step("kill_daemon")),
    "stop_daemon": (1, lambda p: p.step("stop_daemon")),
    "cut": (5, lambda p: p.step("cut", p.rng.choice(_NETWORKS))),
    "cut_zookeeper": (3, lambda p: p.step("cut_zookeeper")),
    "stop_zookeeper": (1, lambda p: p.step("stop_zookeeper", node="", seconds=p.about(2.0, 9.0, 40.0))),
    "slow_ceph": (1, lambda p: p.step("slow_ceph", node=p.rng.choice(("", p.node)))),
    "stop_ceph": (1, lambda p: p.step("stop_ceph", node="")),
    "bmc": (1, lambda p: p.step("bmc", p.rng.choice(("silent", "deaf")))),
    "strike_fencer": (5, lambda p: p.strike()),
    "jump": (1, lambda p: p.step("jump", number=p.rng.choice((-3600, -30, -5, 5, 30, 3600)), seconds=0.0)),
    "drift": (1, lambda p: p.step("drift", number=p.rng.choice((-0.01, -0.001, 0.001, 0.01)), seconds=0.0)),
    "lag": (1, lambda p: p.step("lag", number=p.rng.uniform(0.1, 3.0), seconds=p.about(2.0, 20.0))),
    "lose_answer": (1, lambda p: p.step("lose_answer", seconds=0.0)),
    "maintenance": (1, lambda p: p.step("maintenance", node="")),
    "migrate": (4, lambda p: p.step("migrate", p.node, node=p.machine, seconds=0.0)),
    "hold": (
        3,
        lambda p: p.step("hold", p.rng.choice(("", "kill")), node=p.machine, seconds=0.0, number=p.about(0.3, 3.0)),
    ),
    "primary": (1, lambda p: p.step("primary", node=f"n{p.rng.randint(1, 3)}", seconds=0.0)),
    "crash_machine": (1, lambda p: p.step("crash_machine", node=p.machine, seconds=0.0)),
    "stop_libvirt": (1, lambda p: p.step("stop_libvirt")),
    "slow_libvirt": (1, lambda p: p.step("slow_libvirt")),
    "flush": (1, lambda p: p.step("flush", seconds=0.0)),
    "want": (1, lambda p: p.step("want", p.rng.choice(_STATES), node=p.machine, seconds=0.0)),
}


def draw(rng: random.Random, layout: Layout) -> list[Step]:
    """A few faults, soon after one another. The first one silences a node, most often, and the fencer that then acts is
    often struck as well."""
    time = WARM_UP + rng.uniform(0.0, 4.0)
    steps = [replace(_draw_fault(rng, layout, ("strike_fencer",))[0], at=time)] if rng.random() < 0.4 else []
    for number in range(rng.choice((1, 2, 2, 3, 3, 4, 5, 7))):
        kinds = _SILENCING if number == 0 and rng.random() < 0.7 else tuple(_KINDS)
        steps += [replace(step, at=time) for step in _draw_fault(rng, layout, kinds)]
        time += rng.expovariate(1 / 8.0)
    return steps


def _draw_fault(rng: random.Random, layout: Layout, kinds: Sequence[str]) -> list[Step]:
    nodes = [node.name for node in layout.nodes]
    lasting = rng.choice((0.0, rng.uniform(0.5, 12.0), rng.uniform(5.0, 70.0)))
    kind = rng.choices(kinds, [_KINDS[kind][0] for kind in kinds])[0]
    step = _KINDS[kind][1](_Pick(rng, layout, rng.choice(nodes), lasting))
    if step.do in ("cut", "crash") and rng.random() < 0.25:  # a switch fails, or a fuse blows
        return [replace(step, node=other) for other in rng.sample(nodes, rng.randint(2, len(nodes)))]
    return [step]
