"""What each node has, and what of it is taken: the figures of its document at ``/node``."""

from __future__ import annotations

from pvc_core.model.snapshot import ClusterSnapshot
from pvc_web.metrics.gauges import Gauges, per_cent
from pvc_web.metrics.traffic import traffic
from pvc_web.nodes.documents import node_document
from pvc_web.vms.specs import usage_by_node

DECLARED = {
    "pvc_node_host_cpus": ("node", "CPUs of the node"),
    "pvc_node_allocated_vcpus": ("node", "vCPUs of the VMs that run there"),
    "pvc_node_load_average": ("node", "Load average over five minutes"),
    "pvc_node_cpu_utilization": ("node", "Busy share of its CPUs, in per cent"),
    "pvc_node_domains_count": ("node", "VMs that run there"),
    "pvc_node_architecture": ("node architecture", "1; the architecture of its CPUs"),
    "pvc_node_kernel": ("node kernel", "1; the version of its kernel"),
    "pvc_node_network_traffic_rx": ("node", "Bytes a second that it receives on all interfaces"),
    "pvc_node_network_traffic_tx": ("node", "Bytes a second that it sends on all interfaces"),
    "pvc_node_network_packets_rx": ("node", "Packets a second that it receives on all interfaces"),
    "pvc_node_network_packets_tx": ("node", "Packets a second that it sends on all interfaces"),
    "pvc_node_network_utilization": ("node", "Traffic of the busier direction, in per cent of the speed of its links"),
    "pvc_node_total_memory": ("node", "Memory in MiB"),
    "pvc_node_allocated_memory": ("node", "Memory of the VMs that run there, in MiB"),
    "pvc_node_allocated_memory_utilization": ("node", "The same in per cent of its memory"),
    "pvc_node_provisioned_memory": ("node", "Memory of all VMs that are assigned to it, in MiB"),
    "pvc_node_provisioned_memory_utilization": ("node", "The same in per cent of its memory"),
    "pvc_node_used_memory": ("node", "Memory in use, in MiB"),
    "pvc_node_used_memory_utilization": ("node", "The same in per cent of its memory"),
    "pvc_node_free_memory": ("node", "Memory that new processes can have, in MiB"),
}


def add_nodes(gauges: Gauges, snapshot: ClusterSnapshot) -> None:
    usage = usage_by_node(snapshot)
    for name, entry in snapshot.nodes.items():
        shown = node_document(snapshot, entry, usage)
        memory = shown.memory
        flow = traffic([entry.stats] if entry.stats else [])
        gauges.add("pvc_node_architecture", 1, name, shown.arch)
        gauges.add("pvc_node_kernel", 1, name, shown.kernel)
        values = {
            "host_cpus": shown.vcpu.total,
            "allocated_vcpus": shown.vcpu.allocated,
            "load_average": shown.load,
            "cpu_utilization": entry.stats.cpu_utilization if entry.stats else 0.0,
            "domains_count": shown.domains_count,
            "network_traffic_rx": flow.rx_bytes,
            "network_traffic_tx": flow.tx_bytes,
            "network_packets_rx": flow.rx_packets,
            "network_packets_tx": flow.tx_packets,
            "network_utilization": flow.utilization,
            "total_memory": memory.total,
            "allocated_memory": memory.allocated,
            "allocated_memory_utilization": per_cent(memory.allocated, memory.total),
            "provisioned_memory": memory.provisioned,
            "provisioned_memory_utilization": per_cent(memory.provisioned, memory.total),
            "used_memory": memory.used,
            "used_memory_utilization": per_cent(memory.used, memory.total),
            "free_memory": memory.free,
        }
        for key, value in values.items():
            gauges.add(f"pvc_node_{key}", value, name)
