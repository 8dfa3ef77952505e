"""Sending tasks to the workers: a message carries the id of the task's record, and nothing else."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.sentinel import Sentinel

from pvc_core.config import RedisConfig
from pvc_web.tasks.models import Task

log = logging.getLogger(__name__)

SILENCE = 2.0  # seconds for which a Redis that did not answer is left alone, so that not every request waits for it

app = Celery("pvc", fixups=[])  # the fixup for Django closes connections that the worker means to keep
app.config_from_object("django.conf:settings", namespace="CELERY")


def client(config: RedisConfig) -> Redis:
    """A client of the Redis that takes the messages; where there are Sentinels, they are asked at each connection."""
    options: dict[str, float] = {"socket_connect_timeout": 1, "socket_timeout": 2}
    if config.sentinels:
        return Sentinel(config.sentinels, **options).master_for(config.master_name)
    return Redis.from_url(config.url, **options)


_silent_until = 0.0


def send(tasks: Iterable[Task]) -> None:
    """Give the tasks to their queues. What cannot be sent now is noted, and sent by the reaper when Redis answers."""
    unsent = [task.pk for task in tasks if not _send(task)]
    if unsent:
        Task.objects.filter(pk__in=unsent).update(sent=None)


def _send(task: Task) -> bool:
    """False when Redis does not answer, or did not a moment ago."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return False
    try:
        try:
            _publish(task)
        except AttributeError:  # kombu made the queue on a new channel, and put the message on the lost one
            _publish(task)
    except OperationalError as error:
        log.warning("task %s could not be sent and waits in the database: %s", task.id, error)
        _silent_until = time.monotonic() + SILENCE
        return False
    return True


def _publish(task: Task) -> None:
    app.send_task(
        task.operation,
        args=(str(task.id),),
        task_id=str(task.id),
        queue=task.queue,
        retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0},
    )
