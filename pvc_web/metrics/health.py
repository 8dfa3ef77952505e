"""How the cluster is: what is wrong, how many there are of what, how full it is, what its tasks do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum

from pvc_core.config import Config
from pvc_core.model.node import DaemonState, DomainState
from pvc_core.model.snapshot import ClusterSnapshot, ShownState
from pvc_web.cluster.documents import ClusterStatus, cluster_status
from pvc_web.metrics.gauges import Gauges, per_cent
from pvc_web.metrics.traffic import traffic

DECLARED = {
    "pvc_info": ("primary_node version upstream_ip", "1; the primary, the version of its daemon, its floating address"),
    "pvc_cluster_maintenance": ("", "Whether the cluster is in maintenance (1) or not (0)"),
    "pvc_cluster_health": ("", "Health of the cluster in per cent"),
    "pvc_cluster_faults": ("status id message", "A fault on the list: 1 while it goes on, 0 once its cause is gone"),
    "pvc_node_health": ("node", "Health of the node in per cent, 0 while its daemon does not run"),
    "pvc_node_daemon_states": ("state", "Nodes whose daemon is in this state"),
    "pvc_node_domain_states": ("state", "Nodes in this domain state: whether they take VMs"),
    "pvc_vm_states": ("state", "VMs in this state"),
    "pvc_ceph_osd_up_states": ("state", "OSDs that are up, and down"),
    "pvc_ceph_osd_in_states": ("state", "OSDs that are in, and out"),
    "pvc_nodes": ("", "Number of nodes"),
    "pvc_vms": ("", "Number of VMs"),
    "pvc_osds": ("", "Number of OSDs"),
    "pvc_networks": ("", "Number of networks"),
    "pvc_pools": ("", "Number of pools"),
    "pvc_volumes": ("", "Number of volumes"),
    "pvc_snapshots": ("", "Number of snapshots of volumes"),
    "pvc_cluster_cpu_utilization": ("", "Busy share of all CPUs of the nodes that run, in per cent"),
    "pvc_cluster_network_utilization": ("", "Traffic of the nodes that run, as pvc_node_network_utilization"),
    "pvc_cluster_memory_real_utilization": ("", "Used share of the memory of the nodes that run, in per cent"),
    "pvc_cluster_memory_allocated_utilization": ("", "Memory of the VMs that run, in per cent of the nodes' memory"),
    "pvc_cluster_memory_provisioned_utilization": ("", "Memory of all VMs, in per cent of the nodes' memory"),
    "pvc_cluster_disk_utilization": ("", "Used share of the space of all OSDs, in per cent"),
    # Not known to PVC 1.0:
    "pvc_cluster_survives_node_loss": (
        "",
        "N-1: whether any one node could die and all VMs had a place (1) or not (0)",
    ),
    "pvc_node_loss_unplaced_vms": ("node", "VMs that would have no place if this node died"),
    "pvc_node_fence": ("node step", "1; how far the fence of the node has come, for nodes that were fenced"),
    "pvc_tasks": ("state", "Tasks that wait (queued) or run now, and those that failed within the last 24 hours"),
    "pvc_database_up": (
        "",
        "Whether PostgreSQL answered (1); without it there are no metrics of tasks and backups (0)",
    ),
}


def add_health(gauges: Gauges, snapshot: ClusterSnapshot, config: Config) -> None:
    status = cluster_status(snapshot, config)
    gauges.add("pvc_info", 1, status.primary_node, status.pvc_version, status.upstream_ip)
    gauges.add("pvc_cluster_maintenance", snapshot.maintenance)
    gauges.add("pvc_cluster_health", status.cluster_health.health)
    for name, health in status.node_health.items():
        gauges.add("pvc_node_health", health.health, name)
    for fault in snapshot.faults.values():
        gauges.add("pvc_cluster_faults", not fault.over, fault.status.value, fault.id, fault.message)
    _add_states(gauges, snapshot)
    _add_counts(gauges, status)
    _add_utilization(gauges, status, snapshot)
    _add_survival(gauges, status, snapshot)


def add_tasks(gauges: Gauges, counts: Mapping[str, int]) -> None:
    for state, count in counts.items():
        gauges.add("pvc_tasks", count, state)


def _add_states(gauges: Gauges, snapshot: ClusterSnapshot) -> None:
    nodes = snapshot.nodes.values()
    _add_each(gauges, "pvc_node_daemon_states", DaemonState, [entry.daemon_state for entry in nodes])
    _add_each(gauges, "pvc_node_domain_states", DomainState, [entry.node.domain_state for entry in nodes])
    _add_each(gauges, "pvc_vm_states", ShownState, [entry.shown_state for entry in snapshot.vms.values()])
    osds = snapshot.storage.osd_states if snapshot.storage else {}
    for name, words in (("pvc_ceph_osd_up_states", ("up", "down")), ("pvc_ceph_osd_in_states", ("in", "out"))):
        for word in words:
            gauges.add(name, sum(count for state, count in osds.items() if word in state.split(",")), word)


def _add_each(gauges: Gauges, name: str, states: type[StrEnum], found: Iterable[StrEnum]) -> None:
    """A value for each state, also where nothing is in it, so that none vanishes from a graph."""
    counts = Counter(found)
    for state in states:
        gauges.add(name, counts[state], state.value)


def _add_counts(gauges: Gauges, status: ClusterStatus) -> None:
    gauges.add("pvc_nodes", status.nodes["total"])
    gauges.add("pvc_vms", status.vms["total"])
    gauges.add("pvc_osds", status.osds["total"])
    gauges.add("pvc_networks", status.networks)
    gauges.add("pvc_pools", status.pools)
    gauges.add("pvc_volumes", status.volumes)
    gauges.add("pvc_snapshots", status.snapshots)


def _add_utilization(gauges: Gauges, status: ClusterStatus, snapshot: ClusterSnapshot) -> None:
    memory = status.resources.memory
    running = [entry.stats for entry in snapshot.nodes.values() if entry.runs and entry.stats]
    gauges.add("pvc_cluster_cpu_utilization", status.resources.vcpu.utilization)
    gauges.add("pvc_cluster_network_utilization", traffic(running).utilization)
    gauges.add("pvc_cluster_memory_real_utilization", memory.utilization)
    gauges.add("pvc_cluster_memory_allocated_utilization", per_cent(memory.allocated, memory.total))
    gauges.add("pvc_cluster_memory_provisioned_utilization", per_cent(memory.provisioned, memory.total))
    gauges.add("pvc_cluster_disk_utilization", status.resources.disk.utilization)


def _add_survival(gauges: Gauges, status: ClusterStatus, snapshot: ClusterSnapshot) -> None:
    if status.n_minus_1 is not None:
        gauges.add("pvc_cluster_survives_node_loss", status.n_minus_1.survives)
        for name in snapshot.nodes:
            gauges.add("pvc_node_loss_unplaced_vms", len(status.n_minus_1.nodes.get(name, ())), name)
    for name, entry in snapshot.nodes.items():
        if entry.fence is not None:
            gauges.add("pvc_node_fence", 1, name, entry.fence.step.value)
