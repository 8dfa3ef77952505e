"""Puts right what dead workers, a lost Redis and dead nodes leave behind."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from redis import Redis
from redis.exceptions import RedisError

from pvc_core.model.task import TaskState
from pvc_tasks import claims
from pvc_tasks.claims import Ending
from pvc_web.tasks import broker, service
from pvc_web.tasks.models import Task

log = logging.getLogger(__name__)

RESEND_AFTER = timedelta(seconds=3)  # a message that is on its way for longer is looked for
NODE_PATIENCE = timedelta(seconds=60)  # how long a task waits for a node that is not there
GAP = 3.0  # seconds between two sweeps after which the database counts as having been away
UNREACHABLE = "unreachable"


class Reaper:
    """``grace`` is how many seconds workers get to show that they live once the database is back; ``node_is_alive``
    tells of a node's name whether its daemon runs."""

    def __init__(
        self, heartbeat_limit: float, grace: float, redis: Redis, node_is_alive: Callable[[str], bool]
    ) -> None:
        self._heartbeat_limit = timedelta(seconds=heartbeat_limit)
        self._grace = grace
        self._swept = self._answers_since = float("-inf")
        self._redis = redis
        self._node_is_alive = node_is_alive

    def sweep(self) -> None:
        """Look once at everything that is not over. Raises the database's errors."""
        if self._is_judge():
            settle_lost(Q(heartbeat__lt=Now() - self._heartbeat_limit), "its worker does not answer")
        self._stop_orphans()
        self._fail_unreachable()
        try:
            self._send_again()
        except RedisError as error:
            log.warning("Redis does not answer: %s", error)
        self._swept = time.monotonic()

    def _is_judge(self) -> bool:
        """Whether a missing heartbeat means anything: while the database was away, nobody could renew one."""
        connection.cursor().close()  # which may take as long as a leader's succession
        now = time.monotonic()
        if now - self._swept > GAP:
            self._answers_since = now
        return now - self._answers_since >= self._grace

    def _stop_orphans(self) -> None:
        """Children go with their parent, however that ended."""
        orphans = Task.objects.unfinished().filter(parent__state__in=_OVER, cancel_requested=False)
        with transaction.atomic():
            service.stop(list(orphans.select_for_update(of=("self",), skip_locked=True)))

    def _fail_unreachable(self) -> None:
        waiting = Task.objects.filter(state=TaskState.QUEUED, created__lt=Now() - NODE_PATIENCE).exclude(node="")
        alive: dict[str, bool] = {}
        for task in waiting:
            if task.node not in alive:
                alive[task.node] = self._node_is_alive(task.node)
            if not alive[task.node]:
                message = f"node {task.node} is not running, so nobody can do this"
                claims.finish_queued(task, Ending(TaskState.FAILED, message, UNREACHABLE, tuple(task.undoable)))

    def _send_again(self) -> None:
        """Send what waits in the database without a message in Redis: it was lost there, or with a worker."""
        doubtful = Q(sent=None) | Q(sent__lt=Now() - RESEND_AFTER)
        overdue = Task.objects.filter(doubtful, state=TaskState.QUEUED)
        queues: dict[str, list[Task]] = defaultdict(list)
        for task in overdue:
            queues[task.queue].append(task)
        for queue, tasks in queues.items():
            present = set(_task_ids(self._redis.lrange(queue, 0, -1)))
            missing = [task for task in tasks if str(task.id) not in present]
            if missing:
                log.warning("%d tasks of queue %s have no message, and are sent again", len(missing), queue)
                Task.objects.filter(pk__in=[task.pk for task in missing]).update(sent=Now())
                broker.send(missing)


_OVER = [state for state in TaskState if state.ended]


def settle_lost(which: Q, why: str) -> None:
    """Take the running tasks that fit from their workers, which are dead."""
    for pk in Task.objects.filter(which, state=TaskState.RUNNING).values_list("pk", flat=True):
        with transaction.atomic():
            task = (
                Task.objects.select_for_update(of=("self",), skip_locked=True)
                .filter(which, pk=pk, state=TaskState.RUNNING)
                .first()
            )
            if task is not None:
                claims.take_from_dead(task, why)


def _task_ids(messages: Iterable[bytes]) -> Iterator[str]:
    """Ids in the messages of a queue, as kombu writes them."""
    for message in messages:
        yield json.loads(message)["headers"]["id"]
