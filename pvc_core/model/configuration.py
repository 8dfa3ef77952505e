"""What was made of a cluster by those who run it, as far as ZooKeeper holds it: all that a backup of it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pvc_core.model.mirror import Mirror
from pvc_core.model.network import Network
from pvc_core.model.node import Node
from pvc_core.model.storage import Osd, Pool, Volume
from pvc_core.model.vm import Vm
from pvc_core.model.vm_snapshot import VmConfig, VmSnapshot


@dataclass(frozen=True, slots=True)
class Configuration:
    """No status, statistics, faults, fences, locks or election: they are about one moment, and are found out anew."""

    nodes: Mapping[str, Node] = field(default_factory=dict)  # by name
    pools: Mapping[str, Pool] = field(default_factory=dict)  # by name
    volumes: Mapping[str, Volume] = field(default_factory=dict)  # by pool/name
    osds: Mapping[int, Osd] = field(default_factory=dict)  # by id
    networks: Mapping[int, Network] = field(default_factory=dict)  # by VNI
    vms: Mapping[str, Vm] = field(default_factory=dict)  # by uuid, as all below; nothing of them is under way
    xmls: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mapping[str, Mirror] = field(default_factory=dict)
    snapshots: Mapping[str, Mapping[str, VmSnapshot]] = field(default_factory=dict)  # and by name
    configs: Mapping[str, Mapping[str, VmConfig]] = field(default_factory=dict)  # of the snapshots

    def contradiction(self) -> str:
        """What in it cannot be, as a sentence; empty when nothing is wrong."""
        for name, count in Counter(vm.name for vm in self.vms.values()).items():
            if count > 1:
                return f"there are {count} VMs of the name {name}"
        for uuid, vm in self.vms.items():
            if vm.uuid != uuid or uuid not in self.xmls:
                return f"VM {vm.name} has another uuid than its place says, or no XML"
        for uuid in {*self.xmls, *self.mirrors, *self.snapshots}:
            if uuid not in self.vms:
                return f"there is something of a VM {uuid}, and no such VM"
        for uuid, named in self.snapshots.items():
            if named.keys() != self.configs.get(uuid, {}).keys():
                return f"the snapshots of VM {self.vms[uuid].name} are not complete"
        for full_name, volume in self.volumes.items():
            if volume.full_name != full_name or volume.pool not in self.pools:
                return f"volume {full_name} has another name than its place says, or no pool"
        return ""
