"""The configuration of a whole cluster as one document: read from ZooKeeper, sealed with a checksum, and opened again.

The relational part comes from the web, which knows the database; here it is rows and nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from pvc_core.errors import BadRequest, Busy
from pvc_core.model.configuration import Configuration
from pvc_core.rules.restore import at_rest
from pvc_core.state import records
from pvc_core.state.cluster import ClusterState
from pvc_core.state.records import Key

T = TypeVar("T")

FORMAT = "pvc-cluster-backup"
VERSION = 1  # of the document; that of the records in it is ``schema``
ATTEMPTS = 5  # at reading while others write


@dataclass(frozen=True)
class Backup:
    """One backup, opened: its checksum was right."""

    configuration: Configuration
    rows: tuple[dict[str, Any], ...]  # of the database, as Django serialises them
    migrations: Mapping[str, tuple[str, ...]]  # of the tables of each app
    created: str  # ISO 8601
    cluster: str  # fsid, empty where Ceph had not told it
    release: str  # version of PVC
    schema: int = records.SCHEMA_VERSION


def read(state: ClusterState) -> Configuration:
    """The configuration as it was at one moment. Raises Busy when it keeps changing, Unavailable without a quorum."""
    seen = _read(state)
    for _ in range(ATTEMPTS):
        again = _read(state)
        if again == seen:
            return seen
        seen = again
    raise Busy("the configuration keeps changing while it is read; try again in a moment")


def _read(state: ClusterState) -> Configuration:
    def every(directory: str) -> list[str]:
        return state.store.children(directory)

    uuids = every(records.VMS)
    vms = _found(state, {uuid: records.vm(uuid) for uuid in uuids})
    taken = [(uuid, name) for uuid in every(records.SNAPSHOTS) for name in every(records.vm_snapshots(uuid))]
    pools = every(records.POOLS)
    return Configuration(
        nodes=_found(state, {name: records.node(name) for name in every(records.NODES)}),
        pools=_found(state, {name: records.pool(name) for name in pools}),
        volumes=_found(
            state,
            {
                f"{pool}/{name}": records.volume(pool, name)
                for pool in pools
                for name in every(f"{records.VOLUMES}/{pool}")
            },
        ),
        osds=_found(state, {int(number): records.osd(int(number)) for number in every(records.OSDS)}),
        networks=_found(state, {int(vni): records.network(int(vni)) for vni in every(records.NETWORKS)}),
        vms={uuid: at_rest(vm) for uuid, vm in vms.items()},
        xmls=_found(state, {uuid: records.vm_xml(uuid) for uuid in uuids}),
        mirrors=_found(state, {uuid: records.mirror(uuid) for uuid in every(records.MIRRORS)}),
        snapshots=_nested(_found(state, {key: records.vm_snapshot(*key) for key in taken})),
        configs=_nested(_found(state, {key: records.vm_snapshot_config(*key) for key in taken})),
    )


def _found(state: ClusterState, keys: Mapping[Any, Key[T]]) -> dict[Any, T]:
    entries = {name: state.find(key) for name, key in keys.items()}
    return {name: entry.value for name, entry in entries.items() if entry is not None}


def _nested(values: Mapping[tuple[str, str], T]) -> dict[str, dict[str, T]]:
    nested: dict[str, dict[str, T]] = {}
    for (uuid, name), value in values.items():
        nested.setdefault(uuid, {})[name] = value
    return nested


def seal(backup: Backup) -> dict[str, Any]:
    """The document, as plain JSON values. It has secrets in it."""
    document = {"format": FORMAT, "version": VERSION, **msgspec.to_builtins(backup, str_keys=True)}
    return document | {"digest": _digest(document)}


def unseal(text: str | bytes) -> Backup:
    """Open a document. Raises BadRequest that says what is wrong with it: not JSON, of another kind, made by a newer
    version, damaged, or one that contradicts itself."""
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise BadRequest(f"the backup is cut short or damaged: it is not JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadRequest(f"this is no backup of a cluster: its format is not {FORMAT}")
    for what, newest in (("version", VERSION), ("schema", records.SCHEMA_VERSION)):
        number = document.get(what)
        if not isinstance(number, int) or number < 1:
            raise BadRequest(f"the backup is damaged: its {what} is {number!r}")
        if number > newest:
            raise BadRequest(
                f"the backup was made by a newer version of PVC: its {what} is {number}, and {newest} is the newest "
                "that this one understands"
            )
    digest = document.pop("digest", None)
    if digest != _digest(document):
        raise BadRequest("the backup is damaged: its content does not fit its checksum")
    try:
        backup = msgspec.convert(document, Backup, str_keys=True)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the backup cannot be understood: {error}") from None
    if contradiction := backup.configuration.contradiction():
        raise BadRequest(f"the backup contradicts itself: {contradiction}")
    return backup


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the document, however it is spaced and ordered."""
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()
