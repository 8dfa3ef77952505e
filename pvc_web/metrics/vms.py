"""Machines: the figures of their documents at ``/vm``, their mirrors and their backups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_web.metrics.gauges import Gauges
from pvc_web.vms.documents import NOTHING, DiskDocument, NicDocument, VmDocument, vm_document

# Under libvirt's names.
MEMORY = {
    "actual": "Memory that the VM has now, in KiB",
    "rss": "Memory of the node that its process takes, in KiB",
    "unused": "Memory that its guest leaves unused, in KiB",
    "available": "Memory that its guest sees, in KiB",
    "usable": "Memory that its guest could give back without swapping, in KiB",
    "disk_caches": "Memory that its guest uses to cache disks, in KiB",
    "swap_in": "What its guest has read from swap, in KiB",
    "swap_out": "What its guest has written to swap, in KiB",
    "major_fault": "Number of the guest's page faults that needed a disk",
    "minor_fault": "Number of the guest's page faults that needed none",
    "hugetlb_pgalloc": "Number of huge pages that the guest was given",
    "hugetlb_pgfail": "Number of huge pages that the guest was not given",
}
CPU = {"cpu_time": "all that its process used", "user_time": "in user mode", "system_time": "in the kernel"}
CARD = {"packets": "Packets", "bits": "Bits", "errors": "Errors", "drops": "Dropped packets"}
DISK = {
    "rd_req": "Reads from this disk",
    "rd_bytes": "Bytes read from this disk",
    "wr_req": "Writes to this disk",
    "wr_bytes": "Bytes written to this disk",
}
DIRECTIONS = {"rd": "of what its cards in this network received", "wr": "of what its cards in this network sent"}
SINCE = "since the VM was started"

DECLARED = {
    "pvc_vm_uuid": ("vm uuid", "1; the UUID of the VM"),
    "pvc_vm_description": ("vm description", "1; its description"),
    "pvc_vm_profile": ("vm profile", "1; the profile it was made from"),
    "pvc_vm_state": ("vm state", "1; its state now"),
    "pvc_vm_failed_reason": ("vm failed_reason", "Whether it has failed (1), and why"),
    "pvc_vm_node_limit": ("vm node_limit", "1; the nodes it is limited to, separated by commas, empty for all"),
    "pvc_vm_node_selector": ("vm node_selector", "1; how a node is chosen for it"),
    "pvc_vm_autostart": ("vm autostart", "Whether it is started when its node is ready again"),
    "pvc_vm_migration_method": ("vm migration_method", "1; how it is moved"),
    "pvc_vm_tags": ("vm", "Number of its tags"),
    "pvc_vm_active_node": ("vm node", "1; the node it is assigned to"),
    "pvc_vm_migrated": ("vm last_node", "Whether it was moved away (1), and from which node"),
    "pvc_vm_machine_type": ("vm machine_type", "1; the machine that QEMU makes for it"),
    "pvc_vm_serial_console": ("vm", "Whether it has a serial console"),
    "pvc_vm_vnc_console": ("vm", "Whether it has a graphical console now"),
    "pvc_vm_vnc_listen_address": ("vm address", "Whether there is one (1), and at which address"),
    "pvc_vm_vnc_listen_port": ("vm port", "Whether there is one (1), and on which port"),
    "pvc_vm_vcpus": ("vm", "Its vCPUs"),
    "pvc_vm_vcpu_topology": ("vm topology", "1; sockets/cores/threads"),
    **{f"pvc_vm_vcpus_{key}": ("vm", f"Nanoseconds of CPU time {SINCE}: {text}") for key, text in CPU.items()},
    "pvc_vm_memory": ("vm", "Its memory in MiB"),
    **{f"pvc_vm_memory_stats_{key}": ("vm", text) for key, text in MEMORY.items()},
    "pvc_vm_network_macaddr": ("vm vni macaddr", "1; the MAC address of a network card"),
    "pvc_vm_network_model": ("vm vni model", "1; the model of its cards in this network"),
    **{
        f"pvc_vm_network_{way}_{key}": ("vm vni", f"{text} {where}, {SINCE}")
        for way, where in DIRECTIONS.items()
        for key, text in CARD.items()
    },
    **{f"pvc_vm_disk_{key}": ("vm disk", f"{text}, {SINCE}") for key, text in DISK.items()},
    # Not known to PVC 1.0:
    "pvc_vm_mirror_role": ("vm role", "1; whether this cluster leads the mirrored VM, receives it, or was superseded"),
    "pvc_vm_mirror_lag_seconds": ("vm peer", "Age of the newest snapshot that both clusters have"),
    "pvc_vm_mirror_lag_bytes": ("vm peer", "Bytes that the VM has written since then, as its own cluster counts them"),
    "pvc_vm_mirror_goal_seconds": ("vm peer", "Lag beyond which the cluster raises a fault"),
    "pvc_vm_last_backup_timestamp_seconds": (
        "vm schedule",
        "When its last backup by this schedule was complete, in seconds since the epoch; 0: never",
    ),
}  # fmt: skip


def add_vms(gauges: Gauges, snapshot: ClusterSnapshot) -> None:
    for entry in snapshot.vms.values():
        vm = vm_document(snapshot, entry, ())
        _add_machine(gauges, vm)
        _add_consoles(gauges, vm)
        _add_counters(gauges, vm)
        _add_cards(gauges, vm.name, vm.networks)
        _add_disks(gauges, vm.name, vm.disks)
        _add_mirror(gauges, vm)


def add_backups(gauges: Gauges, times: Mapping[tuple[str, str], float]) -> None:
    """``times`` has the end of the last one by the names of machine and schedule."""
    for (vm, schedule), ended in times.items():
        gauges.add("pvc_vm_last_backup_timestamp_seconds", ended, vm, schedule)


def _add_machine(gauges: Gauges, vm: VmDocument) -> None:
    facts = {
        "uuid": vm.uuid,
        "description": vm.description,
        "profile": vm.profile,
        "state": vm.state.value,
        "node_limit": ",".join(vm.node_limit),
        "node_selector": vm.node_selector.value,
        "migration_method": vm.migration_method.value,
        "active_node": vm.node,
        "machine_type": vm.machine,
        "vcpu_topology": vm.vcpu_topology,
    }
    for key, text in facts.items():
        gauges.add(f"pvc_vm_{key}", 1, vm.name, text)
    gauges.add("pvc_vm_failed_reason", bool(vm.failed_reason), vm.name, vm.failed_reason)
    gauges.add("pvc_vm_migrated", bool(vm.last_node), vm.name, vm.last_node)
    gauges.add("pvc_vm_autostart", vm.node_autostart, vm.name, str(vm.node_autostart))
    gauges.add("pvc_vm_tags", len(vm.tags), vm.name)
    gauges.add("pvc_vm_vcpus", vm.vcpu, vm.name)
    gauges.add("pvc_vm_memory", vm.memory, vm.name)


def _add_consoles(gauges: Gauges, vm: VmDocument) -> None:
    shown = vm.vnc.port != NOTHING
    gauges.add("pvc_vm_serial_console", bool(vm.console), vm.name)
    gauges.add("pvc_vm_vnc_console", shown, vm.name)
    gauges.add("pvc_vm_vnc_listen_address", shown, vm.name, vm.vnc.listen)
    gauges.add("pvc_vm_vnc_listen_port", shown, vm.name, vm.vnc.port)


def _add_counters(gauges: Gauges, vm: VmDocument) -> None:
    """Those of a machine that runs, as far as libvirt reports them: a guest without a balloon tells little."""
    for key, value in vm.vcpu_stats.items():
        gauges.add(f"pvc_vm_vcpus_{key}", value, vm.name)
    for key in MEMORY.keys() & vm.memory_stats.keys():
        gauges.add(f"pvc_vm_memory_stats_{key}", vm.memory_stats[key], vm.name)


def _add_cards(gauges: Gauges, vm: str, cards: Iterable[NicDocument]) -> None:
    """Several cards in one network are counted together; one that is in none goes under the name of its source."""
    sums: Counter[tuple[str, str]] = Counter()
    facts = set()
    for card in cards:
        vni = card.source if card.vni is None else str(card.vni)
        facts |= {("macaddr", vni, card.mac), ("model", vni, card.model)}
        for way in DIRECTIONS:
            sums[vni, f"{way}_packets"] += getattr(card, f"{way}_packets")
            sums[vni, f"{way}_bits"] += getattr(card, f"{way}_bytes") * 8
            sums[vni, f"{way}_errors"] += getattr(card, f"{way}_errors")
            sums[vni, f"{way}_drops"] += getattr(card, f"{way}_drops")
    for key, vni, text in facts:
        gauges.add(f"pvc_vm_network_{key}", 1, vm, vni, text)
    for (vni, key), value in sums.items():
        gauges.add(f"pvc_vm_network_{key}", value, vm, vni)


def _add_disks(gauges: Gauges, vm: str, disks: Iterable[DiskDocument]) -> None:
    """A drive without a medium goes under its device."""
    sums: Counter[tuple[str, str]] = Counter()
    for disk in disks:
        for key in DISK:
            sums[disk.name or disk.dev, key] += getattr(disk, key)
    for (name, key), value in sums.items():
        gauges.add(f"pvc_vm_disk_{key}", value, vm, name)


def _add_mirror(gauges: Gauges, vm: VmDocument) -> None:
    mirror = vm.mirror
    if mirror is None:
        return
    gauges.add("pvc_vm_mirror_role", 1, vm.name, mirror.role.value)
    values = {"lag_seconds": mirror.lag_seconds, "lag_bytes": mirror.lag_bytes, "goal_seconds": mirror.goal or None}
    for key, value in values.items():
        if value is not None:
            gauges.add(f"pvc_vm_mirror_{key}", value, vm.name, mirror.peer)
