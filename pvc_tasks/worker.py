"""A worker of one lane on this node: ``python -m pvc_tasks.worker control`` or ``bulk``."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import IO

import django
from django.db.models import Q

from pvc_core.config import Config
from pvc_core.errors import BadRequest, Conflict, PvcError
from pvc_core.memory import return_large_blocks
from pvc_core.model.node import NodeRole
from pvc_core.model.task import Lane
from pvc_core.ops.base import Tools

log = logging.getLogger("pvc_tasks.worker")

STOP_PATIENCE = 10.0  # seconds that running tasks get to end after SIGTERM; what still runs then is undone


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pvc_web.config.settings")
    try:
        if arguments not in ([Lane.CONTROL], [Lane.BULK]):
            raise BadRequest("usage: python -m pvc_tasks.worker control|bulk")
        django.setup()
        from pvc_tasks.app import make_tools
        from pvc_web.config import cluster

        sys.exit(serve(cluster.config(), Lane(arguments[0]), make_tools))
    except PvcError as error:
        sys.exit(f"Error: {error}")


def serve(config: Config, lane: Lane, make_tools: Callable[[], Tools]) -> int:
    """Work until SIGTERM. Answers the exit status. Raises Conflict when this lane has a worker on this node already,
    and BadRequest when the configuration contradicts itself."""
    from celery.signals import worker_shutting_down

    from pvc_tasks.consumer import make_worker
    from pvc_tasks.persist import persist
    from pvc_tasks.reaper import settle_lost
    from pvc_tasks.runner import Runner
    from pvc_web.database.base import limit_answers

    if config.worker.heartbeat_limit < 3 * config.worker.heartbeat_interval:
        raise BadRequest("worker.heartbeat_limit must be at least three times worker.heartbeat_interval")
    limit_answers()
    return_large_blocks()
    with exclusive(Path(config.daemon.state_directory) / f"worker-{lane}.lock"):
        name = f"{lane}@{config.node.name}"
        tools = persist("the start", make_tools)
        # Nobody else has the lock, so whatever is still noted as this worker's was an earlier process's.
        persist("the start", lambda: settle_lost(Q(worker=name), "its worker was restarted"))
        runner = Runner(name, tools)
        stopping: SimpleQueue[None] = SimpleQueue()  # unlike an Event, it bears a second signal within the first
        worker_shutting_down.connect(lambda **_: stopping.put(None), weak=False)
        threading.Thread(target=_press, args=(stopping, runner.interrupt), name="stopping", daemon=True).start()
        worker = make_worker(name, queues(config, lane), concurrency(config, lane), runner.run)
        worker.start()
        runner.close()
        tools.state.store.close()
        return int(worker.exitcode or 0)


def _press(stopping: SimpleQueue[None], interrupt: Callable[[], None]) -> None:
    """Once the worker has to stop, give its tasks a while, and then interrupt them."""
    stopping.get()
    threading.Event().wait(STOP_PATIENCE)
    interrupt()


def queues(config: Config, lane: Lane) -> list[str]:
    """The node's own queue, and on coordinators also that of tasks which any of them may do."""
    from pvc_web.tasks.models import queue_name

    own = [queue_name(config.node.name, lane)]
    return [*own, queue_name("", lane)] if config.node.role is NodeRole.COORDINATOR else own


def concurrency(config: Config, lane: Lane) -> int:
    return config.worker.control_concurrency if lane is Lane.CONTROL else config.worker.bulk_concurrency


def exclusive(path: Path) -> IO[str]:
    """Hold the file locked for as long as it is open. Raises Conflict when another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Conflict(f"{path} is locked: this worker runs here already") from None
    return file


if __name__ == "__main__":
    main(sys.argv[1:])
