"""Golden stories: what the cluster decides, and when, in each situation for which something is promised.

A story is a directory with the cluster (``cluster.json``), what happens to it (``commands.json``) and what follows
(``log.expect``). It runs in the world of the simulation, but nothing in it is left to chance, and every invariant of
the simulation holds. ``pytest tests/scenarios --update`` writes ``log.expect`` anew: read the difference before you
commit it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tests.simulation.faults import Faults
from tests.simulation.layout import Layout
from tests.simulation.script import Step
from tests.simulation.telling import told
from tests.simulation.world import World

HERE = Path(__file__).parent
STORIES = sorted(path.parent for path in HERE.glob("*/commands.json"))


@dataclass(frozen=True)
class Commands:
    """``until``: seconds at which the story ends."""

    steps: tuple[Step, ...]
    until: float


def tell(story: Path) -> list[str]:
    """Run a story; the lines from its first step on."""
    cluster = msgspec.json.decode((story / "cluster.json").read_bytes(), type=Layout)
    commands = msgspec.json.decode((story / "commands.json").read_bytes(), type=Commands)
    world = World(None, cluster)
    lines: list[str] = []
    with told(world, lines.append, logging.INFO):
        Faults(world).schedule(commands.steps)
        world.run(commands.until)
        world.close()
    lines = [line for line in lines if " daemon " not in line]  # each try of a daemon to start, and the like
    begin = min(step.at for step in commands.steps)
    return [line for line in lines if float(line.split(maxsplit=1)[0]) >= begin]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_the_story_goes_as_told(story, request):
    lines = tell(story)
    expected = story / "log.expect"
    if request.config.getoption("--update", default=False):
        expected.write_text("".join(f"{line}\n" for line in lines))
    assert lines == expected.read_text().splitlines()


def test_every_story_says_what_is_promised():
    assert [story.name for story in STORIES if not (story / "README.md").is_file()] == []
