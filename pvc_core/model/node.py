"""Nodes: the servers of the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class NodeRole(StrEnum):
    COORDINATOR = "coordinator"  # votes in ZooKeeper and may become primary
    HYPERVISOR = "hypervisor"  # runs machines only


class DaemonState(StrEnum):
    INIT = "init"  # the daemon has started and is preparing the node
    RUN = "run"  # the daemon keeps the node alive
    SHUTDOWN = "shutdown"  # the daemon is stopping in good order
    STOP = "stop"  # the daemon stopped in good order
    DEAD = "dead"  # no sign of life, and no orderly stop
    FENCED = "fenced"  # confirmed off, by power or by storage


class CoordinatorState(StrEnum):
    PRIMARY = "primary"  # holds the floating addresses and the present epoch
    SECONDARY = "secondary"  # a coordinator that could become primary
    HYPERVISOR = "hypervisor"  # never primary


class DomainState(StrEnum):
    READY = "ready"  # takes and runs machines
    FLUSH = "flush"  # its machines are being moved away
    FLUSHED = "flushed"  # empty, and takes no machines
    UNFLUSH = "unflush"  # its machines are being brought back


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of a node in the three networks, in CIDR notation (``10.0.1.11/24``); empty where it has none."""

    upstream: str = ""
    cluster: str = ""
    storage: str = ""

    def hosts(self) -> set[str]:
        """Those it has, without their prefix lengths."""
        return {self.host(cidr) for cidr in (self.upstream, self.cluster, self.storage) if cidr}

    @staticmethod
    def host(cidr: str) -> str:
        """The address without its prefix length."""
        return cidr.partition("/")[0]


class BmcDriver(StrEnum):
    IPMI = "ipmi"  # IPMI over LAN, version 2.0
    REDFISH = "redfish"


@dataclass(frozen=True, slots=True)
class Bmc:
    """The controller that switches a node's power, reached without the node. Its password is in no record."""

    address: str  # host or host:port; for Redfish also a whole URL
    user: str
    driver: BmcDriver = BmcDriver.IPMI


@dataclass(frozen=True, slots=True)
class Node:
    """What is wanted of a node, and the facts about it that hold while it is off."""

    name: str
    role: NodeRole
    addresses: Addresses
    domain_state: DomainState = DomainState.READY
    bmc: Bmc | None = None
    site: str = ""  # nodes that may go all at once, as those of one room do; empty: alone
    stopped: bool = False  # its daemon ended in good order, so its silence is no reason to fence it
    boot_id: str = ""  # of its latest start


@dataclass(frozen=True, slots=True)
class Alive:
    """The ephemeral sign of life: it exists exactly as long as the daemon's ZooKeeper session."""

    boot_id: str  # of the kernel (or of the namespace that stands for one); a new one means the node was off
    incarnation: int  # counts the starts of the daemon on this node
    daemon_state: DaemonState
    pid: int


@dataclass(frozen=True, slots=True)
class NodeMemory:
    """Memory of a node in MiB."""

    total: int
    used: int
    free: int


@dataclass(frozen=True, slots=True)
class PluginResult:
    """The last run of one health plugin. ``health_delta`` is subtracted from 100 per cent."""

    name: str
    last_run: int  # seconds since the epoch
    health_delta: int
    message: str


@dataclass(frozen=True, slots=True)
class InterfaceStats:
    """Counters of one physical interface, since it came up, and what they rose by in a second when last read."""

    state: str
    speed_mbps: int | None
    rx_bytes: int
    rx_packets: int
    tx_bytes: int
    tx_packets: int
    bond: str = ""  # the bond that it is a part of, whose counters have its own in them
    rx_byte_rate: float = 0.0
    rx_packet_rate: float = 0.0
    tx_byte_rate: float = 0.0
    tx_packet_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class DiskStats:
    rd_req: int = 0
    rd_bytes: int = 0
    wr_req: int = 0
    wr_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NicStats:
    rd_bytes: int = 0
    rd_packets: int = 0
    rd_errors: int = 0
    rd_drops: int = 0
    wr_bytes: int = 0
    wr_packets: int = 0
    wr_errors: int = 0
    wr_drops: int = 0


@dataclass(frozen=True, slots=True)
class DomainStats:
    """Counters of one running machine, as libvirt reports them; times in nanoseconds, memory in KiB."""

    cpu_time: int = 0
    user_time: int = 0
    system_time: int = 0
    memory: dict[str, int] = field(default_factory=dict)  # names of virDomainMemoryStats: actual, rss, unused, ...
    disks: dict[str, DiskStats] = field(default_factory=dict)  # by target device: sda, vda, ...
    networks: dict[str, NicStats] = field(default_factory=dict)  # by MAC address, lower case


@dataclass(frozen=True, slots=True)
class NodeStats:
    """All that a node reports of itself, written once an interval."""

    time: float  # seconds since the epoch, by the node's clock
    daemon_state: DaemonState
    version: str
    arch: str
    os: str
    kernel: str
    cpu_count: int
    load: float  # five-minute average
    cpu_utilization: float  # per cent over the last interval
    memory: NodeMemory
    plugins: tuple[PluginResult, ...] = ()
    interfaces: dict[str, InterfaceStats] = field(default_factory=dict)
    domains: dict[str, DomainStats] = field(default_factory=dict)  # by uuid of the machines that run here

    @property
    def health(self) -> int:
        return max(0, 100 - sum(plugin.health_delta for plugin in self.plugins))


@dataclass(frozen=True, slots=True)
class Primary:
    """Who is primary. The epoch rises by one with each change and is carried by each write of the primary."""

    node: str
    epoch: int
    ready: bool = False  # it has the floating addresses, as it says itself
