"""The connections to Ceph's monitors and manager: commands as JSON, pools, and Ceph's errors in ours."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import rados
import rbd

from pvc_core.config import CephConfig
from pvc_core.errors import Conflict, DriverError, DriverUnavailable, NotFound

# Seconds; without them every call waits for ever while there is no quorum or a placement group is down.
MONITOR_TIMEOUT = 10
OSD_TIMEOUT = 30
CONNECT_TIMEOUT = 10
MANAGER_TIMEOUT = 10
QUESTIONS = 4  # to the manager at a time

# Seconds between two signs of life from the monitor that this client talks to, and until it turns to another one, with
# what it had asked. By Ceph's default of 30 s, a dead node's monitor would keep its fencer waiting.
MONITOR_PING = 1
MONITOR_SILENCE = 3

# Seconds without an answer from an OSD until this client asks whether it is still the one to ask, and between two looks
# at that. A client that was idle does not hear that an OSD died, and by Ceph's defaults waits 10 to 15 s for it.
OSD_SILENCE = 2
OSD_LOOK = 1

Answer = tuple[int, bytes, str]  # of a command: its code, its output, and what it says
Result = TypeVar("Result")

_SHUTDOWN = (rados.ConnectionShutdown, rbd.ConnectionShutdown)
_UNAVAILABLE = {errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNREFUSED, errno.ESHUTDOWN, errno.EAGAIN, errno.EINTR}


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise Ceph's errors about ``what`` as NotFound, Conflict, DriverUnavailable or DriverError."""
    try:
        yield
    except _SHUTDOWN:
        raise  # for the connection, which is dropped
    except (rados.ObjectNotFound, rbd.ImageNotFound, rbd.ObjectNotFound):
        raise NotFound(f"{what} does not exist in Ceph") from None
    except (rados.ObjectExists, rbd.ImageExists, rbd.ObjectExists):
        raise Conflict(f"{what} exists already in Ceph") from None
    except rbd.ImageBusy:
        raise Conflict(f"{what} is in use") from None
    except rbd.ImageHasSnapshots:
        raise Conflict(f"{what} has snapshots") from None
    except (rados.Error, rbd.Error) as error:
        raise driver_error(what, getattr(error, "errno", 0) or 0, str(error)) from error


def driver_error(what: str, number: int, text: str) -> DriverError:
    kind = DriverUnavailable if abs(number) in _UNAVAILABLE else DriverError
    return kind(f"Ceph: {what}: {text or os.strerror(abs(number))}")


class _Client:
    """Connects when it is first used, and anew after Ceph has shut this client out (it was blocklisted)."""

    def __init__(self, config: CephConfig, options: Mapping[str, str]) -> None:
        self._config = config
        self._options = options
        self._lock = threading.Lock()
        self._cluster: rados.Rados | None = None

    def close(self) -> None:
        with self._lock:
            if self._cluster is not None:
                self._cluster.shutdown()
                self._cluster = None

    @contextmanager
    def session(self) -> Iterator[rados.Rados]:
        cluster = self._connected()
        try:
            yield cluster
        except _SHUTDOWN:
            with self._lock:
                if self._cluster is cluster:
                    self._cluster = None  # it is closed with the last call that uses it
            raise DriverUnavailable("Ceph has shut this client out; it will connect anew") from None

    def _connected(self) -> rados.Rados:
        with self._lock:
            if self._cluster is None:
                self._cluster = self._connect()
            return self._cluster

    def _connect(self) -> rados.Rados:
        config = self._config
        if not Path(config.config_file).exists():
            raise DriverError(f"Ceph's configuration {config.config_file} does not exist")
        options = {
            "client_mount_timeout": str(CONNECT_TIMEOUT),
            "mon_client_ping_interval": str(MONITOR_PING),
            "mon_client_ping_timeout": str(MONITOR_SILENCE),
            **self._options,
        }
        if Path(config.keyring).exists():
            options["keyring"] = config.keyring
        with translated("the connection"):
            cluster = rados.Rados(conffile=config.config_file, name=f"client.{config.user}", conf=options)
            cluster.connect(CONNECT_TIMEOUT)
        return cluster


class CephConnection:
    """One for all but the manager, and another one for what the manager is asked.

    librados must not give up a command to the manager by itself: where ``rados_mon_op_timeout`` ends one, the answer
    that comes late is written over memory that is in use for something else by then (tracker.ceph.com/issues/65985).
    A manager that dies, and is succeeded, is enough for that. So it is we who stop waiting.
    """

    def __init__(self, config: CephConfig) -> None:
        self.config = config
        self._client = _Client(
            config,
            {
                "rados_mon_op_timeout": str(MONITOR_TIMEOUT),
                "rados_osd_op_timeout": str(OSD_TIMEOUT),
                "objecter_timeout": str(OSD_SILENCE),
                "objecter_tick_interval": str(OSD_LOOK),
                "rbd_cache": "false",  # it takes 32 MiB an image, and whole disks pass through but once
            },
        )
        self._manager = _Client(config, {"rados_mon_op_timeout": "0"})
        self._questions = threading.BoundedSemaphore(QUESTIONS)

    def close(self) -> None:
        self._client.close()
        idle = [self._questions.acquire(blocking=False) for _ in range(QUESTIONS)]
        if all(idle):  # else a thread waits for an answer, and the connection has to be left to it
            self._manager.close()
        for _ in filter(None, idle):
            self._questions.release()

    def session(self) -> AbstractContextManager[rados.Rados]:
        return self._client.session()

    def command(self, prefix: str, **arguments: object) -> Any:
        """A command to the monitors; its answer, decoded."""
        return json.loads(_output(prefix, self._ask_monitors(prefix, {"format": "json", **arguments})) or "null")

    def text(self, prefix: str, *, manager: bool = False) -> str:
        """What a person would read."""
        ask = self._ask_manager if manager else self._ask_monitors
        return _output(prefix, ask(prefix, {}))

    def manager_command(self, prefix: str, **arguments: object) -> Any:
        """A command to the active manager daemon; None when it says nothing."""
        return json.loads(_output(prefix, self._ask_manager(prefix, {"format": "json", **arguments})) or "null")

    def manager_report(self, prefix: str, **arguments: object) -> dict[str, Any]:
        """What the active manager daemon knows. Raises DriverUnavailable while it has only just become active, and
        knows nothing."""
        report: dict[str, Any] | None = self.manager_command(prefix, **arguments)
        if report is None:
            raise DriverUnavailable(f"Ceph: {prefix}: the manager has no answer yet")
        return report

    def objection(self, question: str, **arguments: object) -> str:
        """What the active manager daemon has against a step that it is asked about; empty when it may be done."""
        code, _, message = self._ask_manager(question, arguments)  # as JSON, some always answer that they agree
        if code < 0 and -code not in (errno.EBUSY, errno.EAGAIN):
            raise driver_error(question, code, message)
        return message or os.strerror(-code) if code < 0 else ""

    def pool_exists(self, pool: str) -> bool:
        with self.session() as cluster, translated(f"pool {pool}"):
            return bool(cluster.pool_exists(pool))

    @contextmanager
    def pool(self, pool: str) -> Iterator[rados.Ioctx]:
        """Raises NotFound when there is no such pool."""
        with self.session() as cluster:
            with translated(f"pool {pool}"):
                context = cluster.open_ioctx(pool)
            try:
                yield context
            finally:
                context.close()

    def own_address(self) -> str:
        """The address from which Ceph sees this client come, as Ceph writes it."""
        with self.session() as cluster, translated("the connection"):
            return str(cluster.get_addrs())

    def wait_for_map(self) -> None:
        """Wait until this client has the newest map of the OSDs. Raises DriverUnavailable when no monitor can say in
        time which one that is."""
        with self.session() as cluster, translated("the newest map of the OSDs"):
            try:
                code = _in_time(cluster.wait_for_latest_osdmap, MONITOR_TIMEOUT)  # it has no time-out of its own
            except TimeoutError:
                code = -errno.ETIMEDOUT
            if code < 0:
                raise driver_error("the newest map of the OSDs", code, "")

    def option(self, name: str) -> str:
        """A value of ceph.conf or of the monitors' configuration."""
        with self.session() as cluster:
            return str(cluster.conf_get(name))

    def environment(self) -> dict[str, str]:
        """What Ceph's clients in other processes need to find the keyring."""
        keyring = self.config.keyring
        return {**os.environ, "CEPH_ARGS": f"--keyring={keyring}"} if Path(keyring).exists() else dict(os.environ)

    def _ask_monitors(self, prefix: str, arguments: dict[str, object]) -> Answer:
        with self.session() as cluster, translated(prefix):
            answer: Answer = cluster.mon_command(json.dumps({"prefix": prefix, **arguments}), b"")
            return answer

    def _ask_manager(self, prefix: str, arguments: dict[str, object]) -> Answer:
        with self._manager.session() as cluster, translated(prefix):

            def ask() -> Answer:
                try:
                    answer: Answer = cluster.mgr_command(json.dumps({"prefix": prefix, **arguments}), b"")
                    return answer
                finally:
                    self._questions.release()

            try:
                if self._questions.acquire(timeout=MANAGER_TIMEOUT):
                    return _in_time(ask, MANAGER_TIMEOUT)
            except TimeoutError:
                pass
        raise DriverUnavailable(f"Ceph: {prefix}: the manager does not answer")


def _output(prefix: str, answer: Answer) -> str:
    """What a command printed. Raises DriverError when it failed, NotFound when what it is about is not there."""
    code, output, message = answer
    if code < 0:
        if -code == errno.ENOENT:
            raise NotFound(f"Ceph: {message}")
        raise driver_error(prefix, code, message)
    return output.decode() if isinstance(output, bytes) else str(output)


def _in_time(call: Callable[[], Result], timeout: float) -> Result:
    """What ``call`` answers. Raises TimeoutError when that takes too long; it is then left to a thread, which must not
    keep the process."""
    answer: Future[Result] = Future()
    Thread(target=_answer, args=(answer, call), daemon=True).start()
    return answer.result(timeout)


def _answer(future: Future[Result], call: Callable[[], Result]) -> None:
    try:
        future.set_result(call())
    except (rados.Error, ValueError) as error:
        future.set_exception(error)
