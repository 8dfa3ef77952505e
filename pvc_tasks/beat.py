"""Schedules and the reaper, on one coordinator at a time: ``python -m pvc_tasks.beat``, to be run on each of them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import Any

import django
from django.db import Error as DatabaseError
from django.db import close_old_connections, connection
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import ConnectionClosedError, KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.recipe.election import Election

from pvc_core.config import Config
from pvc_core.errors import PvcError
from pvc_core.state import records

log = logging.getLogger("pvc_tasks.beat")

ELECTION = "/pvc-beat"
TICK = 1.0  # seconds between two looks at what is due
RETRY_INTERVAL = 2.0  # seconds before standing again after a term
STOP_TIMEOUT = 10.0  # seconds that a sweep under way gets to end after SIGTERM


class Candidate:
    """One candidacy on one session. It is over with the first doubt about that session, and is not used again: whoever
    is elected next is so only after that session has ended on the servers."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._over = threading.Event()
        self._client = KazooClient(hosts=",".join(config.zookeeper.hosts), timeout=config.zookeeper.session_timeout)
        self._election = Election(self._client, ELECTION, config.node.name)
        self._client.add_listener(self._on_state)

    def stand(self) -> None:
        """Wait to be elected, and lead until the session is in doubt or ``resign`` is called. Raises KazooException,
        and KazooTimeoutError when no server answers."""
        try:
            self._client.start()
            log.info("node %s waits to lead the schedules", self._config.node.name)
            if not self._over.is_set():
                self._election.run(self._lead)
        except ConnectionClosedError:
            log.debug("the candidate's own end of its session came before that of its election")
        finally:
            self._client.stop()
            self._client.close()

    def resign(self) -> None:
        self._over.set()
        self._election.cancel()

    def _lead(self) -> None:
        from pvc_tasks.app import make_peers
        from pvc_tasks.peerwatch import PeerWatcher
        from pvc_tasks.pruning import Pruner
        from pvc_tasks.reaper import Reaper
        from pvc_web.tasks import broker

        log.info("node %s leads the schedules", self._config.node.name)
        worker = self._config.worker
        redis = broker.client(self._config.redis)
        reaper = Reaper(worker.heartbeat_limit, 3 * worker.heartbeat_interval, redis, self._node_is_alive)
        pruner = Pruner(self._config.history)
        scheduler: Any = None
        watcher = PeerWatcher(make_peers(), self._config.timing)
        watcher.start()
        while not self._over.is_set():
            close_old_connections()
            try:
                reaper.sweep()
                scheduler = scheduler or _make_scheduler()
                if not self._over.is_set():  # the sweep may have waited for the database, and another leads by now
                    scheduler.tick()
                    pruner.look()
            except (DatabaseError, PvcError) as error:
                log.warning("schedules wait: %s", " ".join(str(error).split()))
                connection.close()
            self._over.wait(TICK)
        watcher.stop()
        if scheduler is not None:
            scheduler.close()
        log.info("node %s no longer leads the schedules", self._config.node.name)
        self._client.stop()  # now, since giving up the election in good order would wait for the servers to be back

    def _node_is_alive(self, name: str) -> bool:
        return self._client.exists(records.alive(name).path) is not None

    def _on_state(self, state: str) -> None:
        if state != KazooState.CONNECTED:
            self._over.set()


def _make_scheduler() -> Any:
    from pvc_tasks.scheduler import Scheduler
    from pvc_web.tasks.broker import app

    return Scheduler(app=app)


class Beat:
    """Candidacy after candidacy, until ``stop`` is called."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stopping = threading.Event()
        self._candidate: Candidate | None = None

    def run(self) -> None:
        while not self._stopping.is_set():
            self._candidate = Candidate(self._config)
            try:
                if not self._stopping.is_set():
                    self._candidate.stand()
            except (KazooException, KazooTimeoutError) as error:
                log.warning("no election: %s", str(error) or type(error).__name__)
            self._stopping.wait(RETRY_INTERVAL)

    def stop(self) -> None:
        self._stopping.set()
        if self._candidate is not None:
            self._candidate.resign()


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pvc_web.config.settings")
    try:
        django.setup()
    except PvcError as error:
        sys.exit(f"Error: {error}")
    from pvc_web.config import cluster
    from pvc_web.database.base import limit_answers

    limit_answers()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    beat = Beat(cluster.config())
    failed: list[BaseException] = []

    def work() -> None:
        try:
            beat.run()
        except BaseException as error:
            log.exception("the schedules broke off")
            failed.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    worker = threading.Thread(target=work, name="beat", daemon=True)
    worker.start()
    signal.sigwait(signals)
    beat.stop()
    worker.join(STOP_TIMEOUT)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
