"""``python -m tests.simulation --seeds 10000``: run schedules, print how many a second, and the first that fails."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import schedule
from tests.simulation.broken import BREAKS
from tests.simulation.schedule import Outcome

BATCH = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--break", dest="broken", choices=BREAKS, help="break a rule on purpose")
    parser.add_argument("--keep-going", action="store_true", help="one line for each seed that fails, to the end")
    parser.add_argument("--verbose", action="store_true", help="print all that happens; with --seed")
    options = parser.parse_args()
    if options.broken:
        BREAKS[options.broken].apply()
    if options.seed is not None:
        return _replay(options.seed, verbose=options.verbose)
    return _run(options.first, options.seeds, options.jobs, keep_going=options.keep_going)


def _run(first: int, count: int, jobs: int, *, keep_going: bool) -> int:
    began = time.monotonic()
    done, failed, seconds = 0, 0, 0.0
    for outcome in _outcomes(first, count, jobs):
        done += 1
        seconds += outcome.seconds
        if outcome.violation:
            failed += 1
            print(f"seed {outcome.seed} fails: {outcome.violation}", flush=True)
            if not keep_going:
                print()
                return _replay(outcome.seed, verbose=True)
    took = time.monotonic() - began
    print(
        f"{done} schedules of {seconds / max(1, done):.0f} s each, {failed} failed, in {took:.1f} s: "
        f"{done / took:.1f} schedules a second with {jobs} processes"
    )
    return 1 if failed else 0


def _outcomes(first: int, count: int, jobs: int) -> Iterator[Outcome]:
    batches = [range(start, min(start + BATCH, first + count)) for start in range(first, first + count, BATCH)]
    with ProcessPoolExecutor(jobs, initializer=logging.disable) as pool:
        try:
            for outcomes in pool.map(_batch, batches):
                yield from outcomes
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(seeds: range) -> list[Outcome]:
    return [schedule.run(seed) for seed in seeds]


def _replay(seed: int, *, verbose: bool) -> int:
    layout, steps = schedule.plan(seed)
    print(f"seed {seed}\n{layout.fencing}")
    for plan in (*layout.nodes, *layout.machines):
        print(plan)
    for step in steps:
        print(step)
    print()
    logging.disable()
    outcome = schedule.run(seed, print if verbose else None)
    print(f"\nseed {seed}: {outcome.violation or 'all went well'} ({outcome.seconds:.0f} s, {outcome.events} events)")
    return 1 if outcome.violation else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of what a seed stands for
        command = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | {"PYTHONHASHSEED": "0"})
    sys.exit(main())
