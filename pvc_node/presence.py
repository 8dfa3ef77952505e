"""The node's own records: what it is, and the ephemeral sign that it lives."""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import replace

from pvc_core.config import NodeConfig
from pvc_core.errors import Conflict, Stale, Unavailable
from pvc_core.model.node import Alive, DaemonState, Node
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState, Entry, Transaction
from pvc_core.state.view import ClusterView
from pvc_node.identity import Identity

log = logging.getLogger(__name__)


class Presence:
    """Safe to use from several threads."""

    def __init__(self, state: ClusterState, config: NodeConfig, identity: Identity) -> None:
        self._state = state
        self._config = config
        self._key = records.alive(config.name)
        self._value = Alive(identity.boot_id, identity.incarnation, DaemonState.INIT, os.getpid())
        self._entry: Entry[Alive] | None = None  # what was last written, None where that is not known
        self._owner = 0  # the session it belongs to
        self._lock = threading.Lock()

    @property
    def daemon_state(self) -> DaemonState:
        return self._value.daemon_state

    def register(self) -> None:
        """Create the node's record, or bring its role and addresses up to date. Raises Unavailable."""
        key = records.node(self._config.name)
        while True:
            entry = self._state.find(key)
            config = self._config
            wanted = Node(
                config.name,
                config.role,
                config.addresses,
                bmc=config.bmc,
                site=config.site,
                boot_id=self._value.boot_id,
            )
            transaction = self._state.transaction()
            if entry is None:
                transaction.create(key, wanted)
            elif entry.value != (wanted := _with_state(wanted, entry.value)):
                transaction.update(entry, wanted)
            try:
                transaction.commit()
                return
            except Stale:
                continue  # someone changed the record in between: look again

    def appear(self, view: ClusterView, timeout: float) -> None:
        """Make the sign of life. An old one of another boot of this node is waited for, until its session has ended.

        Raises Conflict when it does not go within ``timeout`` seconds: then another daemon uses this node's name.
        """
        name = self._config.name
        view.wait(lambda now: name in now.nodes and not self._is_foreign(now.nodes[name].alive), timeout)
        self.keep()

    def keep(self) -> None:
        """Make the sign of life anew when the session has changed, bring it up to date when the daemon's state has;
        nothing otherwise.

        Raises Conflict when another daemon shows a sign of life under this name, Unavailable without a connection.
        """
        with self._lock:
            owner = self._state.store.owner
            entry, self._entry = self._entry, None
            if entry is None or owner != self._owner:
                self._entry = self._make()
                self._owner = owner
            elif entry.value != self._value:
                self._state.transaction().update(entry, self._value).commit()
                self._entry = Entry(self._key, self._value, entry.version + 1)
            else:
                self._entry = entry

    def change(self, daemon_state: DaemonState) -> None:
        """Show another state of the daemon. When this raises Unavailable, the next ``keep`` shows it."""
        log.info("daemon: %s => %s", self.daemon_state, daemon_state)
        self._value = replace(self._value, daemon_state=daemon_state)
        self.keep()

    def check(self, transaction: Transaction) -> None:
        """Let ``transaction`` fail when the session has ended. Raises Unavailable when it is known to have."""
        entry = self._entry
        if entry is None or self._state.store.owner != self._owner:
            raise Unavailable("this node shows no sign of life in ZooKeeper now")
        transaction.check(entry)

    def vanish(self) -> None:
        """Take the sign of life away, and note in the same transaction that this is in good order."""
        with self._lock:
            entry, self._entry = self._entry, None
            while entry is not None:
                node = self._state.get(records.node(self._config.name))
                # In this order, since who watches sees the one before the other.
                transaction = self._state.transaction().update(node, replace(node.value, stopped=True))
                try:
                    transaction.delete(entry).commit()
                    return
                except Stale as error:
                    if error.path != node.key.path:
                        raise

    def _make(self) -> Entry[Alive]:
        found = self._state.find(self._key)
        if found is not None and self._is_foreign(found.value):
            raise Conflict(
                f"another daemon of a node named {self._config.name} is alive (process {found.value.pid}, boot id "
                f"{found.value.boot_id}): stop it, or give this node another name"
            )
        transaction = self._state.transaction()
        if found is not None:  # of an earlier session or daemon of this node, which has only one at a time
            transaction.delete(found)
        node = self._state.get(records.node(self._config.name))
        if node.value.stopped:  # up to this very moment, or its silence would look like a death
            transaction.update(node, replace(node.value, stopped=False))
        transaction.create(self._key, self._value, ephemeral=True).commit()
        return Entry(self._key, self._value, 0)

    def _is_foreign(self, alive: Alive | None) -> bool:
        """Whether a sign of life may be another machine's. One of this boot is this node's: the lock on its state
        directory lets no second daemon live."""
        return alive is not None and alive.boot_id != self._value.boot_id


def _with_state(wanted: Node, before: Node) -> Node:
    """The record with what is not this node's to say while it starts."""
    return replace(wanted, domain_state=before.domain_state, stopped=before.stopped)
