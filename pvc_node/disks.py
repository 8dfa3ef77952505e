"""The node's own way to the storage cluster, made when it is first needed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

from pvc_core.errors import DriverError, PvcError
from pvc_core.model.domain import parse
from pvc_core.ports import BlockStore

log = logging.getLogger(__name__)


class Disks:
    """Safe to use from several threads. ``connect`` loads Ceph's libraries, so most nodes never call it."""

    def __init__(self, connect: Callable[[], BlockStore]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._blocks: BlockStore | None = None

    def blocks(self) -> BlockStore:
        """The connection. Raises DriverUnavailable when Ceph does not answer."""
        with self._lock:
            if self._blocks is None:
                self._blocks = self._connect()
            return self._blocks

    def free(self, xml: str, hosts: Collection[str] | None = None) -> None:
        """Break the locks on a machine's volumes, whose process died without giving them back, and shut that process
        out; without this a new one waits half a minute for Ceph to miss it. The caller holds the machine's lease.

        ``hosts`` are the addresses at which that process ran; None: whoever has a lock. A volume that cannot be freed
        is left to that wait; DriverError is raised for one that somebody else has locked.
        """
        for full_name in parse(xml).volumes:
            pool, _, name = full_name.partition("/")
            try:
                count = self.blocks().break_locks(pool, name, hosts)
                left = self.blocks().lockers(pool, name) if hosts is not None else []
            except PvcError as error:
                log.warning("the locks of volume %s are not broken: %s", full_name, error)
                continue
            if count:
                log.info("volume %s: %d locks of a dead process => none", full_name, count)
            if left:
                who = ", ".join(f"{locker.client} at {locker.host}" for locker in left)
                raise DriverError(f"volume {full_name} is locked by {who}, which is not the node that was fenced")

    def close(self) -> None:
        if self._blocks is not None:
            self._blocks.close()
