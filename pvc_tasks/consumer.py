"""Celery's worker, with a pool of threads and taking a message only when a thread is free for it.

Celery's own consumer fetches messages ahead, and learns of a free thread at its next look, up to a second later. A
message fetched ahead would wait here though another coordinator's worker is idle, and die with this process.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.exceptions import SecurityWarning
from celery.worker import state

from pvc_core.ops.base import Operation
from pvc_web.tasks.broker import app


class Pool(TaskPool):
    """Wakes the consumer's event loop whenever a thread becomes free."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._freed = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def register_with_event_loop(self, loop: Any) -> None:
        loop.add_reader(self._freed, os.eventfd_read, self._freed)

    def on_apply(self, *args: Any, **options: Any) -> Any:
        result = super().on_apply(*args, **options)
        result.f.add_done_callback(lambda _: os.eventfd_write(self._freed, 1))
        return result


class TakeWhenFree(bootsteps.StartStopStep):
    """Keeps the consumer from asking for messages while every thread is busy."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer: Any) -> None:
        quality = consumer.task_consumer.channel.qos
        can_consume = quality.can_consume
        quality.can_consume = lambda: len(state.reserved_requests) < consumer.pool.limit and can_consume()


def make_worker(name: str, queues: list[str], concurrency: int, run: Callable[[str], None]) -> Any:
    """A Celery worker that calls ``run`` with the id of each task that it takes from the queues."""
    for operation in Operation.registry:
        app.task(run, name=operation)
    app.steps["consumer"].add(TakeWhenFree)
    # Celery warns of root because of messages that carry code. Ours carry an id, and the work itself needs root.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    return app.Worker(
        hostname=name,
        pool_cls=Pool,
        concurrency=concurrency,
        queues=queues,
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
