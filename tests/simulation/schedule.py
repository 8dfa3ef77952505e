"""One seed: a cluster, a fault script, and whether all went as it must."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from tests.simulation import layout, script
from tests.simulation.faults import Faults
from tests.simulation.layout import Layout
from tests.simulation.rules import Violation
from tests.simulation.script import Step
from tests.simulation.telling import told
from tests.simulation.world import World

TROUBLED = 60.0  # seconds after the last fault in which nothing is mended but what mends itself
SETTLE = 420.0  # seconds in which all must be well after everything is healed
LOOK = 5.0
WELL = 3  # looks in a row


@dataclass(frozen=True)
class Outcome:
    seed: int
    seconds: float  # of virtual time
    events: int
    violation: str = ""


def plan(seed: int) -> tuple[Layout, list[Step]]:
    """What a seed stands for."""
    rng = random.Random(f"plan {seed}")
    cluster = layout.draw(rng)
    return cluster, script.draw(rng, cluster)


def run(seed: int, write: Callable[[str], object] | None = None) -> Outcome:
    """Run a seed's schedule. ``write`` gets a line for all that happens."""
    cluster, steps = plan(seed)
    world = World(seed, cluster)
    with told(world, write) if write is not None else nullcontext():
        return _run(world, seed, steps)


def _run(world: World, seed: int, steps: list[Step]) -> Outcome:
    faults = Faults(world)
    try:
        faults.schedule(steps)
        world.run(steps[-1].at + random.Random(seed).uniform(1.0, TROUBLED))
        faults.heal()
        violation = _settle(world, faults)
    except Violation as broken:
        violation = str(broken)
    except Exception:  # noqa: BLE001 - a defect, which belongs to the seed
        violation = traceback.format_exc(limit=-12)
    finally:
        world.close()
    return Outcome(seed, world.loop.time, world.loop.events, violation)


def _settle(world: World, faults: Faults) -> str:
    deadline = world.loop.time + SETTLE
    well = 0
    while well < WELL:
        if world.loop.time >= deadline:
            return "not well in the end: " + "; ".join(world.rules.ended_well())
        world.run(LOOK)
        faults.tend()
        well = 0 if world.rules.ended_well() else well + 1
    return ""
