"""Schedules of faults against the real node loops, and proof that they find what is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.broken import BREAKS

ROOT = Path(__file__).resolve().parents[2]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["nice", sys.executable, "-m", "tests.simulation", *arguments]
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def passed(outcome: subprocess.CompletedProcess[str]) -> bool:
    if outcome.returncode:
        print(outcome.stdout, outcome.stderr)
    return outcome.returncode == 0


def test_a_hundred_schedules_break_no_rule():
    assert passed(simulate("--seeds", "100"))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_thousand_schedules_break_no_rule():
    assert passed(simulate("--seeds", "1900", "--first", "101"))


@pytest.mark.long
@pytest.mark.parametrize("name", BREAKS)
def test_a_rule_broken_on_purpose_is_found(name):
    outcome = simulate("--seeds", "400", "--break", name)
    assert outcome.returncode == 1
    assert re.search(rf"seed \d+ fails: .*{BREAKS[name].finds}", outcome.stdout), outcome.stdout


def test_a_second_fence_waits_for_the_first_though_both_were_decided_at_one_moment():
    assert passed(simulate("--seed", "2828"))


def test_a_seed_replays_exactly():
    first, second = (simulate("--seed", "3", "--verbose") for _ in range(2))
    assert "begins to write" in first.stdout
    assert first.stdout == second.stdout
