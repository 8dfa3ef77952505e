"""Calls the other clusters every few seconds, so that each site knows who leads its mirrors, and that it was away."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from pvc_core.config import TimingConfig
from pvc_core.errors import PvcError, Stale
from pvc_core.model.mirror import Word
from pvc_core.ports import Peer, Peers
from pvc_core.state import records
from pvc_core.state.mirrors import heed, note_call
from pvc_web.config import cluster

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two calls to a peer
AT_ONCE = 16  # peers that may keep their callers waiting before the others have to wait too


class PeerWatcher:
    """Runs in threads of its own, since a peer may take minutes to answer."""

    def __init__(self, peers: Peers, timing: TimingConfig) -> None:
        self._peers = peers
        self._timing = timing
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="peers", daemon=True)
        self._pool = ThreadPoolExecutor(AT_ONCE, "peer")
        self._calls: dict[str, Future[None]] = {}
        self._troubles: dict[str, str] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is under way is not waited for, and writes nothing any more."""
        self._stopping.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for what was under way when it was stopped."""
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for name in self._names():
                    self._call(name)
            except PvcError as error:
                self._note_trouble("", str(error))
            self._stopping.wait(INTERVAL)
        connection.close()

    def _names(self) -> set[str]:
        """Those that are known; while the database does not answer, those that were called before."""
        close_old_connections()
        known = set(cluster.view().snapshot().peers)
        try:
            names = set(self._peers.names())
        except DatabaseError as error:
            self._note_trouble("", str(error))
            return known
        self._note_trouble("", "")
        self._drop(known - names)
        return names

    def _drop(self, gone: set[str]) -> None:
        """Remove what is noted of peers that were removed."""
        for name in gone:
            entry = cluster.state().find(records.peer(name))
            if entry is not None:
                cluster.state().transaction().delete(entry).commit()

    def _call(self, name: str) -> None:
        call = self._calls.get(name)
        if call is not None and not call.done():
            now = time.time()
            self._write(name, now, now, None)
            return
        try:
            peer = self._peers.connect(name, self._stopping.is_set)
        except (PvcError, DatabaseError) as error:
            now = time.time()
            self._note_trouble(name, str(error))
            self._write(name, now, now, None)
            return
        try:
            self._calls[name] = self._pool.submit(self._hear, name, peer)
        except RuntimeError:  # the pool was shut down meanwhile
            peer.close()

    def _hear(self, name: str, peer: Peer) -> None:
        asked, word = time.time(), None
        try:
            word = peer.hear()
            self._note_trouble(name, "")
        except PvcError as error:
            self._note_trouble(name, str(error))
        finally:
            peer.close()
        self._write(name, asked, time.time(), word)

    def _write(self, name: str, asked: float, ended: float, word: Word | None) -> None:
        if self._stopping.is_set():
            return
        try:
            watch = note_call(cluster.state(), name, asked, ended, word, self._timing)
            if word is not None:
                heed(cluster.state(), cluster.view().snapshot(), watch, ended, self._timing)
        except Stale as error:
            log.debug("another look is needed: %s", error)
        except PvcError as error:
            log.warning("what cluster %s says is not written: %s", name, error)

    def _note_trouble(self, name: str, trouble: str) -> None:
        """Log what has changed."""
        what = f"cluster {name}" if name else "the list of clusters"
        if trouble and not self._troubles.get(name):
            log.warning("%s does not answer: %s", what, " ".join(trouble.split()))
        elif not trouble and self._troubles.get(name):
            log.info("%s answers again", what)
        self._troubles[name] = trouble
