"""From a message to a recorded end: claim, build, perform, record."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
from django.db import close_old_connections

from pvc_core.errors import Cancelled, ClaimLost, Failed, PvcError, Unavailable
from pvc_core.model.task import TaskState
from pvc_core.ops.base import Operation, Tools, build, perform
from pvc_tasks import claims
from pvc_tasks.claims import Ending
from pvc_tasks.execution import Execution, RecordedRun
from pvc_tasks.heartbeat import Heartbeat
from pvc_tasks.persist import RETRY_INTERVAL, persist

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds that a task that has changed nothing yet waits for ZooKeeper
INTERRUPTED = "interrupted by the stop of its worker"


class Runner:
    """Runs tasks in the threads that call it. ``worker`` is the name under which it claims them."""

    def __init__(self, worker: str, tools: Tools) -> None:
        self._worker = worker
        self._tools = tools
        self._heartbeat = Heartbeat(tools.config.worker.heartbeat_interval)
        self._heartbeat.start()

    def run(self, task_id: str) -> None:
        """Perform a task, unless another worker has it or it is over. Waits for a database that is away."""
        close_old_connections()
        token = uuid.uuid4()
        task = persist(f"task {task_id}", lambda: claims.claim(uuid.UUID(task_id), self._worker, token))
        if task is None:
            log.info("task %s is another worker's, or over", task_id)
            return
        log.info("task %s (%s): queued => running: attempt %d", task.id, task, task.attempt)
        execution = Execution(task, self._tools.config.worker)
        with self._heartbeat.holding(execution):
            ending = self._perform(execution)
            if ending is not None:
                persist(f"the end of task {task_id}", lambda: self._record(execution, ending))

    def interrupt(self) -> None:
        """Make everything that runs stop at its next step and undo."""
        for execution in self._heartbeat.executions():
            log.info("task %s is interrupted", execution.task.id)
            execution.interrupt()

    def close(self) -> None:
        self._heartbeat.stop()

    def _perform(self, execution: Execution) -> Ending | None:
        """How it ended; None when it is no longer ours to say so."""
        task = execution.task
        try:
            operation = build(task.operation, task.arguments)
            result = msgspec.to_builtins(dict(self._persevere(execution, operation)))
        except ClaimLost as error:
            log.warning("task %s (%s) is no longer ours: %s", task.id, task, error)
            return None
        except Cancelled as error:
            state = TaskState.FAILED if error.left else TaskState.CANCELLED
            message = INTERRUPTED if execution.interrupted else error.message
            return Ending(state, message, error.code, error.left)
        except Failed as error:
            return Ending(TaskState.FAILED, error.message, error.code, error.left)
        except PvcError as error:
            return Ending(TaskState.FAILED, error.message, error.code)
        except Exception as error:
            log.exception("task %s (%s) broke off", task.id, task)
            return Ending(TaskState.FAILED, f"internal error: {type(error).__name__}: {error}", PvcError.code)
        return Ending(TaskState.SUCCEEDED, str(result.get("message", "done")), result=result)

    def _persevere(self, execution: Execution, operation: Operation) -> Mapping[str, Any]:
        """Perform the operation, again from its start where ZooKeeper broke off before anything was changed: the
        session is with another server in a moment."""
        task, give_up = execution.task, time.monotonic() + PATIENCE
        while True:
            run = RecordedRun(self._tools, str(task.id), execution, attempt=task.attempt, record=execution.undoable)
            try:
                return perform(operation, run)
            except Unavailable as error:  # refused, that is: what had begun would be Failed
                if execution.cancel_requested():
                    raise Cancelled("cancelled on request") from None
                if time.monotonic() > give_up:
                    raise
                log.warning("task %s (%s) waits: %s", task.id, task, error)
            threading.Event().wait(RETRY_INTERVAL)

    def _record(self, execution: Execution, ending: Ending) -> None:
        task = execution.task
        if execution.interrupted and ending.state is TaskState.CANCELLED:
            ours, state = claims.give_back(task, INTERRUPTED, counted=False), TaskState.QUEUED
        else:
            ours, state = claims.finish(task, ending), ending.state
        if ours:
            log.info("task %s (%s): running => %s: %s", task.id, task, state, ending.message)
        else:
            log.warning("task %s (%s): its end is recorded already, or it was given away before", task.id, task)
