"""The typed store: read a record with its version, write several in one conditional transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pvc_core.errors import NotFound, PvcError, Stale
from pvc_core.ports import Check, Create, Delete, Store, Update, Write
from pvc_core.state import records
from pvc_core.state.records import Key, Schema

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A value together with the version under which it was read."""

    key: Key[T]
    value: T
    version: int


class Transaction:
    """Collects writes and applies all of them or none. Each write is conditional on what was read before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes: list[Write] = []

    def create(self, key: Key[T], value: T, *, ephemeral: bool = False) -> Transaction:
        self._writes.append(Create(key.path, key.encode(value), ephemeral))
        return self

    def update(self, entry: Entry[T], value: T) -> Transaction:
        self._writes.append(Update(entry.key.path, entry.key.encode(value), entry.version))
        return self

    def delete(self, entry: Entry[T]) -> Transaction:
        self._writes.append(Delete(entry.key.path, entry.version))
        return self

    def check(self, entry: Entry[T]) -> Transaction:
        """The transaction fails when this entry has changed since it was read."""
        self._writes.append(Check(entry.key.path, entry.version))
        return self

    def absent(self, key: Key[T]) -> Transaction:
        """The transaction fails when there is such a record."""
        self._writes += [Create(key.path, b""), Delete(key.path, 0)]
        return self

    def creates(self, path: str) -> bool:
        """Whether it will make a record there."""
        return any(isinstance(write, Create) and write.path == path for write in self._writes)

    def raw(self, write: Write) -> Transaction:
        self._writes.append(write)
        return self

    def commit(self) -> None:
        """Raises Stale with the first path that did not fit, Unavailable without a quorum."""
        if self._writes:
            self._store.commit(self._writes)

    def applied(self) -> bool:
        """Whether it was applied, to be asked after ``commit`` raised Unavailable. Equal data of another writer is
        taken for its own; one that writes nothing never was. Raises Unavailable."""
        write = next((write for write in self._writes if not isinstance(write, Check)), None)
        if write is None:
            return False
        raw = self._store.get(write.path)
        match write:
            case Create():
                return raw is not None and raw.data == write.data
            case Update():
                return raw is not None and raw.version == write.version + 1 and raw.data == write.data
            case _:
                return raw is None


class ClusterState:
    """Reads and writes records by their keys."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, key: Key[T]) -> Entry[T] | None:
        raw = self.store.get(key.path)
        return None if raw is None else Entry(key, key.decode(raw.data), raw.version)

    def get(self, key: Key[T]) -> Entry[T]:
        """Raises NotFound naming the path when there is no such record."""
        entry = self.find(key)
        if entry is None:
            raise NotFound(f"{key.path} does not exist")
        return entry

    def transaction(self) -> Transaction:
        return Transaction(self.store)

    def put(self, key: Key[T], value: T, *, ephemeral: bool = False) -> None:
        """Write a record whoever wrote it last: for records with one writer, such as a node's statistics."""
        entry = self.find(key)
        if entry is None:
            self.transaction().create(key, value, ephemeral=ephemeral).commit()
        else:
            self.transaction().update(entry, value).commit()

    def prepare(self) -> None:
        """Make the directories below ``/pvc`` and the schema record where they are missing.

        Raises PvcError when the cluster's schema is newer than this version understands.
        """
        for directory in records.DIRECTORIES:
            self.store.ensure(directory)
        entry = self.find(records.SCHEMA)
        if entry is None:
            try:
                self.transaction().create(records.SCHEMA, Schema(records.SCHEMA_VERSION)).commit()
            except Stale:  # another node was first
                entry = self.find(records.SCHEMA)
        if entry is not None and entry.value.version > records.SCHEMA_VERSION:
            raise PvcError(
                f"the cluster's schema has version {entry.value.version}, newer than {records.SCHEMA_VERSION}, "
                "the newest that this version of PVC understands: upgrade this node first"
            )
