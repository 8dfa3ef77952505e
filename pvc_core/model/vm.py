"""Virtual machines: what is wanted of them, and what was last seen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VmState(StrEnum):
    """What is wanted of a machine; also the name under which the API shows it."""

    START = "start"  # runs on its node, and is started again when it crashed
    SHUTDOWN = "shutdown"  # is asked to power off; becomes ``stop`` when it has, or when its time is up
    STOP = "stop"  # does not run, and may be started
    DISABLE = "disable"  # does not run, and is never started by the cluster itself
    PROVISION = "provision"  # is being made; not started until that is done
    MIRROR = "mirror"  # is received from another cluster, where it runs; not started unless it is promoted here


class RunState(StrEnum):
    """What the node that owns a machine last saw of it."""

    UNKNOWN = "unknown"  # no node has looked at it yet
    STARTING = "starting"  # its node has claimed it and is starting it: it may run already
    RUNNING = "running"
    STOPPED = "stopped"  # runs nowhere; its node may start it
    FAILED = "failed"  # would not start, or crashed too often; ``reason`` says why
    WAITING = "waiting"  # runs nowhere, and no node can take it now; ``reason`` says why


class Selector(StrEnum):
    """How a node is chosen for a machine that names none."""

    NONE = "none"  # the cluster's default, which is MEM
    MEM = "mem"  # the most free memory
    MEMPROV = "memprov"  # the most memory not yet provisioned
    VCPUS = "vcpus"  # the fewest vCPUs allocated
    LOAD = "load"  # the lowest load average
    VMS = "vms"  # the fewest machines


class MigrationMethod(StrEnum):
    NONE = "none"  # the cluster's default: live, and shutdown where live cannot be
    LIVE = "live"  # live only
    SHUTDOWN = "shutdown"  # stop here, start there


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    protected: bool = False  # cannot be removed through the tag call
    type: str = "user"


MAX_PRIORITY = 100


@dataclass(frozen=True, slots=True)
class VmMeta:
    """What the cluster needs to know of a machine beyond its libvirt XML."""

    node_limit: tuple[str, ...] = ()  # empty: every node
    node_selector: Selector = Selector.NONE
    node_autostart: bool = False
    migration_method: MigrationMethod = MigrationMethod.NONE
    migration_max_downtime: int = 300  # milliseconds
    profile: str = ""
    priority: int = 0  # up to MAX_PRIORITY: of two machines for one place, the higher one gets it
    affinity: tuple[str, ...] = ()  # tags of machines whose node it is to share, where that is possible
    anti_affinity: tuple[str, ...] = ()  # tags of machines whose node it is to avoid, where that is possible


@dataclass(frozen=True, slots=True)
class VmSize:
    """What a machine takes of its node. A summary of its XML, written together with it, so that a place can be found
    without reading the XML of every machine."""

    memory: int = 0  # MiB
    vcpus: int = 0


@dataclass(frozen=True, slots=True)
class Migration:
    """A move to another node under way. While a live one stands, no node starts or stops the machine on its own."""

    target: str
    task_id: str
    last_node: str = ""  # what the machine's ``last_node`` becomes once it runs at the target
    live: bool = True  # False: it is stopped here and started there, and nodes act on its state as ever


@dataclass(frozen=True, slots=True)
class Vm:
    """The desired side of a machine. Its libvirt XML lies in a znode of its own."""

    uuid: str
    name: str
    state: VmState
    node: str  # where it runs, or would run
    last_node: str = ""  # where it goes back to on unmigrate; empty when it was not migrated
    meta: VmMeta = VmMeta()
    tags: tuple[Tag, ...] = ()
    migration: Migration | None = None
    generation: int = 0  # raised to ask for one restart: the node runs the machine's present generation
    shutdown_deadline: float = 0.0  # seconds since the epoch; meaningful in state SHUTDOWN
    size: VmSize = VmSize()
    held: str = ""  # id of the task that froze or paused it for a moment; its node lets it go on if that task is gone


@dataclass(frozen=True, slots=True)
class VmStatus:
    """The observed side of a machine, written by the node that owns it."""

    run: RunState
    node: str  # who wrote this
    incarnation: int  # of that node's daemon
    generation: int = 0  # of the machine when it was last started
    since: float = 0.0  # seconds since the epoch, of the last change of ``run``
    reason: str = ""  # why it failed
    crashes: int = 0  # restarts in a row that did not last
    former: tuple[str, ...] = ()  # nodes whose fences ended its last runs, and whose locks on its disks may be left
    vnc_listen: str = ""
    vnc_port: int = 0


class DomainRun(StrEnum):
    """What the hypervisor says of a domain; a domain it does not know has none."""

    RUNNING = "running"
    PAUSED = "paused"  # by a person, by an I/O error, or while it is being received
    SHUTOFF = "shutoff"


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain as the hypervisor sees it."""

    uuid: str
    name: str
    run: DomainRun
    reason: str = ""  # SHUTOFF: shutdown, destroyed, crashed, migrated, failed; PAUSED: user, ioerror, migration, ...
    vnc_listen: str = ""
    vnc_port: int = 0

    @property
    def alive(self) -> bool:
        """Its QEMU process exists, whether its CPUs run or not."""
        return self.run is not DomainRun.SHUTOFF

    @property
    def handed_over(self) -> bool:
        """It is being received, or was sent and is about to end; the hypervisor itself sees to it."""
        return self.run is DomainRun.PAUSED and self.reason == "migration"
