"""Virtual time: one queue of events in one thread, with greenlets for code that passes time in the middle of a call.

Everything that is random is drawn from one generator, so that a seed gives the same run every time.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from tests.simulation.host import Host

T = TypeVar("T")


class Process:
    """Something that runs on a host and dies with it; while it is paused its events wait."""

    def __init__(self, host: Host, name: str) -> None:
        self.host = host
        self.name = name
        self.alive = True
        self.frozen = False  # it alone stands still
        self.tasks: list[Task] = []

    @property
    def paused(self) -> bool:
        return self.frozen or self.host.paused

    def kill(self) -> None:
        """Nothing that it was about to do happens any more."""
        self.alive = False
        for task in self.tasks:
            if not task.dead:
                task.throw()
        self.tasks.clear()


class Task(greenlet):
    """A thread of a process."""

    process: Process


class Steady(random.Random):
    """No chance at all: always what lies in the middle, or comes first."""

    def random(self) -> float:
        return 0.5

    def choice(self, seq: Sequence[T]) -> T:
        return seq[0]


class Loop:
    def __init__(self, seed: int | None) -> None:
        """Without a seed, ``Steady``."""
        self.time = 0.0
        self.random = Steady() if seed is None else random.Random(seed)
        self.process: Process | None = None  # whose event is being handled
        self.on_call: Callable[[Process, str], bool] = lambda process, call: False
        self.events = 0
        self._heap: list[tuple[float, int, Process | None, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._hub = getcurrent()

    def at(self, delay: float, action: Callable[[], object], process: Process | None = None) -> None:
        heapq.heappush(self._heap, (self.time + delay, next(self._numbers), process, action))

    def every(self, interval: float, action: Callable[[], object], process: Process) -> None:
        def fire() -> None:
            action()
            self.at(interval, fire, process)

        self.at(interval * self.random.random(), fire, process)

    def spawn(self, process: Process, job: Callable[[], object]) -> None:
        """Run ``job`` as a thread of ``process``, beginning now."""
        task = Task(job, self._hub)
        task.process = process
        process.tasks = [other for other in process.tasks if not other.dead]
        process.tasks.append(task)
        self.at(0.0, task.switch, process)

    def sleep(self, seconds: float) -> None:
        """Let time pass in a thread of a process; no time passes for code that runs in none."""
        task = getcurrent()
        if isinstance(task, Task):
            self.at(seconds, task.switch, task.process)
            self._hub.switch()

    def call(self, what: str, least: float, most: float, at_once: float = 0.0) -> None:
        """A call of a port passes time: ``at_once`` is how likely it passes none. It may also be where a fault strikes,
        which happens before the call goes on."""
        task = getcurrent()
        if not isinstance(task, Task):
            return
        if not task.process.alive:
            raise GreenletExit
        struck = self.on_call(task.process, what)
        if struck or self.random.random() >= at_once:
            self.sleep(self.random.uniform(least, most))

    def run(self, until: float, after: Callable[[], object]) -> None:
        """Handle the events up to that time, with ``after`` called after each."""
        while self._heap and self._heap[0][0] <= until:
            self.time, _, process, action = heapq.heappop(self._heap)
            if process is not None:
                if not process.alive:
                    continue
                if process.paused:
                    process.host.frozen.append((process, action))
                    continue
            self.events += 1
            self.process = process
            action()
            after()
        self.process = None
        self.time = until


class Thread:
    """A thread that does its job after each news and at least once an interval, never twice at a time. ``instant`` is
    how likely no time passes in a job, which costs less."""

    def __init__(
        self, loop: Loop, process: Process, job: Callable[[], object], interval: float, *, instant: float = 0.0
    ) -> None:
        self._loop = loop
        self._process = process
        self._job = job
        self._instant = instant
        self._running = False
        self._news = False
        loop.every(interval, self._begin, process)

    def wake(self) -> None:
        if not self._news:
            self._news = True
            if not self._running:
                self._loop.at(self._loop.random.uniform(0.0005, 0.005), self._begin_late, self._process)

    def _begin_late(self) -> None:
        if self._news:
            self._begin()

    def _begin(self) -> None:
        if self._running:
            return
        self._news = False
        if self._loop.random.random() < self._instant:
            self._job()
        else:
            self._running = True
            self._loop.spawn(self._process, self._run)

    def _run(self) -> None:
        self._job()
        self._running = False
        if self._news:
            self._news = False
            self.wake()


class Pool:
    """The threads of a process that carry out jobs (pvc_node.workers.Workers)."""

    def __init__(self, loop: Loop, process: Process, size: int) -> None:
        self._loop = loop
        self._process = process
        self._free = size
        self._waiting: list[Callable[[], None]] = []

    def submit(self, job: Callable[[], None]) -> None:
        self._waiting.append(job)
        if self._free:
            self._free -= 1
            self._loop.spawn(self._process, self._work)

    def _work(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()
        self._free += 1
