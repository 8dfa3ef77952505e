"""What several operations look up and refuse alike; nothing here changes anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pvc_core.errors import BadRequest, Conflict, NotFound
from pvc_core.model.domain import DomainSpec, parse
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry, VmEntry
from pvc_core.model.vm import MAX_PRIORITY, VmMeta, VmState
from pvc_core.ops.base import Operation

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}")


@dataclass(frozen=True)
class VmOperation(Operation):
    """An operation on one machine, named by its uuid."""

    vm: str

    def subject(self, snapshot: ClusterSnapshot) -> str:
        entry = snapshot.vms.get(self.vm)
        return entry.vm.name if entry is not None else self.vm

    def locks(self, snapshot: ClusterSnapshot) -> tuple[str, ...]:
        return (vm_lock(self.vm),)


def vm_lock(uuid: str) -> str:
    return f"vm:{uuid}"


def parts_of(full_name: str) -> tuple[str, str]:
    """Pool and name of a volume."""
    pool, _, name = full_name.partition("/")
    return pool, name


def volume_lock(full_name: str) -> str:
    """``full_name`` is ``pool/volume``."""
    return f"volume:{full_name.replace('/', ':')}"


def snapshot_lock(vm: str, name: str) -> str:
    """What whoever reads a machine's snapshot holds, so that it is neither removed nor rolled back to meanwhile."""
    return f"snapshot:{vm}:{name}"


def check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} cannot be the name of a {what}: a name begins with a letter or a digit, goes on with letters, "
            "digits, dots, dashes and underscores, and has at most 100 characters"
        )


def find_vm(snapshot: ClusterSnapshot, uuid: str) -> VmEntry:
    """Raises NotFound."""
    entry = snapshot.vms.get(uuid)
    if entry is None:
        raise NotFound(f"there is no VM {uuid}")
    return entry


def find_settled_vm(snapshot: ClusterSnapshot, uuid: str) -> VmEntry:
    """The machine, when nothing is under way with it. Raises NotFound or Conflict."""
    entry = find_vm(snapshot, uuid)
    vm = entry.vm
    if vm.migration is not None:
        raise Conflict(f"VM {vm.name} is being moved to node {vm.migration.target}")
    if vm.state is VmState.PROVISION:
        raise Conflict(f"VM {vm.name} is being provisioned")
    if vm.held and snapshot.locks.get(vm_lock(uuid)) != vm.held:
        raise Conflict(f"VM {vm.name} was left standing by task {vm.held}; its node lets it go on: try again then")
    return entry


def find_led_vm(snapshot: ClusterSnapshot, uuid: str) -> VmEntry:
    """The same, for what may not be done with a machine that another cluster sends and runs."""
    entry = find_settled_vm(snapshot, uuid)
    if entry.vm.state is VmState.MIRROR:
        mirror = snapshot.mirrors.get(uuid)
        sender = f"cluster {mirror.peer}" if mirror is not None and mirror.peer else "another cluster"
        raise Conflict(
            f"VM {entry.vm.name} is a mirror that {sender} leads: promote it there, or by force here when that cluster "
            "is lost"
        )
    return entry


def find_node(snapshot: ClusterSnapshot, name: str) -> NodeEntry:
    """Raises NotFound."""
    entry = snapshot.nodes.get(name)
    if entry is None:
        raise NotFound(f"there is no node {name!r}; there are {', '.join(snapshot.nodes) or 'none'}")
    return entry


def node_runs(snapshot: ClusterSnapshot, name: str) -> bool:
    return name in snapshot.nodes and snapshot.nodes[name].runs


def require_holder_answers(snapshot: ClusterSnapshot, entry: VmEntry) -> None:
    """Only the node on which a machine runs can stop it. Raises Conflict when that node does not answer."""
    if entry.holder and not node_runs(snapshot, entry.holder):
        raise Conflict(
            f"VM {entry.vm.name} was last seen running on node {entry.holder}, whose daemon does not answer: "
            "bring that node back first"
        )


def xml_of(snapshot: ClusterSnapshot, uuid: str) -> str:
    """Raises NotFound when a machine's XML is not there."""
    xml = snapshot.xmls.get(uuid)
    if xml is None:
        raise NotFound(f"the libvirt XML of VM {uuid} is not there")
    return xml


def spec_of(snapshot: ClusterSnapshot, uuid: str) -> DomainSpec:
    """What a machine is made of. Raises NotFound when its XML is not there."""
    return parse(xml_of(snapshot, uuid))


def volumes_of(snapshot: ClusterSnapshot, uuid: str) -> tuple[str, ...]:
    """``pool/volume`` of each disk of a machine in the cluster's storage; none where it has no XML."""
    xml = snapshot.xmls.get(uuid)
    return parse(xml).volumes if xml is not None else ()


def users_of_volume(snapshot: ClusterSnapshot, full_name: str, *, but: str = "") -> Iterator[tuple[VmEntry, bool]]:
    """The machines that have this disk, but for one, and whether each has it for itself alone."""
    for uuid, xml in snapshot.xmls.items():
        if uuid == but or full_name not in xml or uuid not in snapshot.vms:  # a look at the text spares most parsing
            continue
        for disk in parse(xml).disks:
            if disk.volume == full_name:
                yield snapshot.vms[uuid], disk.exclusive


def require_unused_volume(snapshot: ClusterSnapshot, full_name: str, *, but: str = "") -> None:
    """Raises Conflict naming the machines that have this disk."""
    users = sorted(entry.vm.name for entry, _ in users_of_volume(snapshot, full_name, but=but))
    if users:
        raise Conflict(f"volume {full_name} is a disk of VM {', '.join(users)}")


def check_devices(snapshot: ClusterSnapshot, spec: DomainSpec, uuid: str) -> None:
    """Raise BadRequest for a volume or network that does not exist, Conflict for a disk that is another machine's."""
    for disk in spec.disks:
        if not disk.volume:
            continue
        if disk.volume not in snapshot.volumes:
            raise BadRequest(f"disk {disk.dev}: there is no volume {disk.volume}")
        for user, exclusive in users_of_volume(snapshot, disk.volume, but=uuid):
            if exclusive or disk.exclusive:
                raise Conflict(f"disk {disk.dev}: volume {disk.volume} is a disk of VM {user.vm.name} already")
    for nic in spec.networks:
        if nic.vni is not None and nic.vni not in snapshot.networks:
            raise BadRequest(f"network card {nic.mac}: there is no network {nic.vni} (bridge {nic.source})")


def check_memory(snapshot: ClusterSnapshot, spec: DomainSpec) -> None:
    """Raise Conflict when no node has as much memory, free or not."""
    known = [entry.stats.memory.total for entry in snapshot.nodes.values() if entry.stats is not None]
    if known and len(known) == len(snapshot.nodes) and max(known) < spec.memory:
        raise Conflict(f"the VM has {spec.memory} MiB of memory, and the largest node {max(known)} MiB")


def check_meta(snapshot: ClusterSnapshot, meta: VmMeta) -> None:
    """Raise NotFound for a limit to a node that is not there, BadRequest for any other value that cannot be."""
    for name in meta.node_limit:
        find_node(snapshot, name)
    if meta.migration_max_downtime < 1:
        raise BadRequest(
            f"migration_max_downtime is in milliseconds and must be 1 or more, not {meta.migration_max_downtime}"
        )
    if not 0 <= meta.priority <= MAX_PRIORITY:
        raise BadRequest(f"priority must be from 0 to {MAX_PRIORITY}, not {meta.priority}")
    for tag in (*meta.affinity, *meta.anti_affinity):
        check_name("tag", tag)
    both = set(meta.affinity) & set(meta.anti_affinity)
    if both:
        raise BadRequest(f"the tag {min(both)} cannot be in both affinity and anti_affinity")
