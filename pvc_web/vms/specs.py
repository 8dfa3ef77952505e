"""What machines are made of, and what they take of the nodes."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from pvc_core.errors import BadRequest
from pvc_core.model.domain import DomainSpec, parse
from pvc_core.model.snapshot import ClusterSnapshot

log = logging.getLogger(__name__)


@dataclass
class NodeUsage:
    """What the machines of one node take; memory in MiB."""

    running: list[str] = field(default_factory=list)  # uuids
    vcpus: int = 0  # of those that run
    memory: int = 0
    vcpus_provisioned: int = 0  # of all that are assigned
    memory_provisioned: int = 0


NO_USAGE = NodeUsage()


def spec_of(snapshot: ClusterSnapshot, uuid: str) -> DomainSpec | None:
    """What the machine is made of; None while its XML is not known, or where it cannot be read."""
    xml = snapshot.xmls.get(uuid)
    if xml is None:
        return None
    try:
        return parse(xml)
    except BadRequest as error:
        log.error("the XML of machine %s cannot be read: %s", uuid, error)
        return None


def usage_by_node(snapshot: ClusterSnapshot) -> Mapping[str, NodeUsage]:
    """What the machines take of each node that has any."""
    usage: dict[str, NodeUsage] = defaultdict(NodeUsage)
    for uuid, entry in snapshot.vms.items():
        spec = spec_of(snapshot, uuid)
        memory, vcpus = (spec.memory, spec.vcpu) if spec else (0, 0)
        assigned = usage[entry.vm.node]
        assigned.memory_provisioned += memory
        assigned.vcpus_provisioned += vcpus
        if entry.runs and entry.status:
            running = usage[entry.status.node]
            running.running.append(uuid)
            running.memory += memory
            running.vcpus += vcpus
    return usage
