"""Celery's worker, with a pool of threads and taking a message only when a thread is free for it.

Celery's own consumer fetches messages ahead, and learns of a free thread at its next look, up to a second later. A
message fetched ahead would wait here though another coordinator's worker is idle, and die with this process. When
Redis is away, it looks for it ever less often; and one that hangs it waits for without end.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.concurrency.thread import TaskPool
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.worker import state
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from pvc_core.ops.base import Operation
from pvc_web.tasks.broker import app

CHECK_INTERVAL = 1.0  # seconds between two looks whether Redis answers, or is back
ANSWER_LIMIT = 4.0  # seconds of its silence after which Redis is given up: it answers each second, if only with nothing


class SteadyConnection(Connection):
    """Looks for a Redis that is away at an even pace."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        pace = {"interval_start": CHECK_INTERVAL, "interval_step": 0, "interval_max": CHECK_INTERVAL}
        return super().ensure_connection(*args, **pace | options)


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

        def is_free() -> bool:
            # Those that run on after a change of Redis' master are active, and no longer reserved.
            busy = {*state.reserved_requests, *state.active_requests}
            return len(busy) < consumer.pool.limit and can_consume()

        quality.can_consume = is_free


class GiveUpSilence(bootsteps.StartStopStep):
    """Breaks off with a Redis that keeps the connection and answers no more, so that its successor is found."""

    requires = (TakeWhenFree,)

    def start(self, consumer: Any) -> None:
        channel = consumer.task_consumer.channel
        ask, asked_at = channel._brpop_start, time.monotonic()

        def ask_and_note() -> None:
            nonlocal asked_at
            asked_at = time.monotonic()
            ask()

        def check() -> None:
            nonlocal asked_at
            if not channel._in_poll or not channel.qos.can_consume():
                asked_at = time.monotonic()  # nothing was asked, or the answer is left unread
            elif time.monotonic() - asked_at > ANSWER_LIMIT:
                raise RedisConnectionError(f"Redis was silent for {ANSWER_LIMIT:g} s")

        channel._brpop_start = ask_and_note
        consumer.hub.call_repeatedly(CHECK_INTERVAL, check)


def make_worker(name: str, queues: list[str], concurrency: int, run: Callable[[str], None]) -> Any:
    """A Celery worker that calls ``run`` with the id of each task that it takes from the queues."""
    for operation in Operation.registry:
        app.task(run, name=operation)
    app.amqp.Connection = SteadyConnection
    app.steps["consumer"].update((TakeWhenFree, GiveUpSilence))
    # Celery warns of root because of messages that carry code. Ours carry an id, and the work itself needs root.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # And, at each loss of Redis, of what a later version will do to tasks that are acknowledged late. Ours are not.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
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
