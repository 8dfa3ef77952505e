"""What a simulated cluster is made of, given by a scenario or drawn from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from pvc_core.config import FencingConfig
from pvc_core.model.vm import Tag, Vm, VmMeta, VmSize, VmState


@dataclass(frozen=True)
class NodePlan:
    name: str
    coordinator: bool = True
    memory: int = 8192  # MiB
    bmc: bool = True
    site: str = ""


@dataclass(frozen=True)
class MachinePlan:
    name: str
    node: str
    memory: int = 512  # MiB
    state: VmState = VmState.START
    meta: VmMeta = field(default_factory=VmMeta)
    tags: tuple[str, ...] = ()
    local_disk: bool = False  # beside the one that is on RBD

    def record(self, uuid: str) -> Vm:
        tags = tuple(Tag(tag) for tag in self.tags)
        return Vm(uuid, self.name, self.state, self.node, meta=self.meta, tags=tags, size=VmSize(self.memory, 1))

    def xml(self, uuid: str) -> str:
        disks = f"<disk type='network'><source protocol='rbd' name='vms/{self.name}'/><target dev='vda'/></disk>"
        if self.local_disk:
            disks += "<disk type='file'><source file='/srv/local.img'/><target dev='vdb'/></disk>"
        return (
            f"<domain type='kvm'><name>{self.name}</name><uuid>{uuid}</uuid><memory unit='MiB'>{self.memory}</memory>"
            f"<vcpu>1</vcpu><os><type>hvm</type></os><devices>{disks}</devices></domain>"
        )


@dataclass(frozen=True)
class Layout:
    nodes: tuple[NodePlan, ...]
    machines: tuple[MachinePlan, ...]
    fencing: FencingConfig = field(default_factory=FencingConfig)


def draw(rng: random.Random) -> Layout:
    """Three coordinators and up to two hypervisors, with three to eight machines. There is room for all of them when
    all nodes take machines, and in some clusters for no more than that."""
    count = rng.choice((3, 3, 4, 5))
    roomy, sites = rng.random() < 0.6, rng.random() < 0.25
    names = [f"n{number}" for number in range(1, count + 1)]
    machines = tuple(_draw_machine(rng, number, names, limited=roomy) for number in range(1, rng.randint(3, 8) + 1))
    sizes = [machine.memory for machine in machines]
    enough = sum(sizes) // count + max(sizes) + 1  # whoever is where, one node has room for one more
    nodes = tuple(
        NodePlan(
            name,
            coordinator=number < 3,
            memory=8192 if roomy else enough,
            bmc=rng.random() < 0.9,
            site=("east" if number % 2 else "west") if sites else "",
        )
        for number, name in enumerate(names)
    )
    return Layout(nodes, machines, _draw_fencing(rng))


def _draw_machine(rng: random.Random, number: int, names: list[str], *, limited: bool) -> MachinePlan:
    node = rng.choice(names)
    limit: tuple[str, ...] = ()
    if limited and rng.random() < 0.2:
        limit = tuple(sorted({node, *rng.sample(names, 2)}))
    anti = ("apart",) if rng.random() < 0.3 else ()
    affinity = ("together",) if not anti and rng.random() < 0.2 else ()
    return MachinePlan(
        f"vm{number}",
        node,
        memory=rng.choice((256, 512)),
        state=VmState.START if rng.random() < 0.9 else VmState.STOP,
        meta=VmMeta(node_limit=limit, priority=rng.choice((0, 0, 5)), affinity=affinity, anti_affinity=anti),
        tags=anti or affinity,
        local_disk=rng.random() < 0.15,
    )


def _draw_fencing(rng: random.Random) -> FencingConfig:
    methods = rng.choice((("storage", "power"),) * 3 + (("power", "storage"), ("storage",), ("power",)))
    return FencingConfig(
        methods=methods,
        power_on=rng.random() < 0.8,
        suicide_intervals=rng.choice((0, 0, 0, 3)),
        disable_on_ipmi_failure=rng.random() < 0.1,
    )
