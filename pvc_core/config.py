"""The installation's configuration: one YAML file, read once, valid or refused with one clear line."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_interface
from pathlib import Path
from typing import Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
import yaml

from pvc_core.errors import BadRequest
from pvc_core.model.node import Addresses, Bmc, NodeRole

DEFAULT_PATH = Path("/etc/pvc/pvc.conf")
PATH_VARIABLE = "PVC_CONFIG_FILE"
FLOATING_SESSION = 4.0  # seconds; a shorter session could end before an address that hangs on it is gone


@dataclass(frozen=True)
class NodeConfig:
    """This node: who it is, and where it is reached."""

    name: str
    role: NodeRole = NodeRole.COORDINATOR
    addresses: Addresses = Addresses()  # noqa: RUF009 - frozen
    boot_id_file: str = "/proc/sys/kernel/random/boot_id"
    bmc: Bmc | None = None  # what switches this node's power
    site: str = ""  # nodes of one site may all be fenced at once


@dataclass(frozen=True)
class TimingConfig:
    """Seconds, but for the limit of restarts."""

    keepalive_interval: float = 2.0
    vm_shutdown_timeout: float = 180.0
    restart_backoff: float = 2.0  # doubled with each crash in a row
    restart_limit: int = 5  # crashes in a row before a machine is failed
    restart_reset: float = 60.0  # a run at least this long ends a row of crashes
    mirror_away: float = 60.0  # a site that has not called its peers for as long was away, and asks before it starts
    mirror_unheard: float = 0.0  # its mirrored machines start after as long without an answer; 0: a person decides


@dataclass(frozen=True)
class FencingConfig:
    """When a node is taken for dead, how that is proven, and what becomes of its machines.

    Intervals are counted in keepalive intervals. ``fence_intervals`` includes the time until ZooKeeper ends a silent
    session; what is left after that is the saving throw, in which the node may come back.
    """

    fence_intervals: int = 5
    suicide_intervals: int = 0  # without a session for as long, a node stops its machines itself; 0: never
    successful_fence: Literal["migrate", "none"] = "migrate"  # none: its machines wait for its return
    failed_fence: Literal["retry", "none"] = "retry"  # none: the methods are not tried again
    # All begin at once. A later one's word is taken only after the first had ``patience`` seconds to give its own.
    methods: tuple[Literal["storage", "power", "watchdog"], ...] = ("storage", "power")
    patience: float = 3.0
    attempt_timeout: float = 15.0  # seconds until a fence that no method has confirmed is failed
    retry_interval: float = 15.0  # seconds between the tries after that
    power_on: bool = True  # a node that was switched off by its fence is switched on again
    disable_on_ipmi_failure: bool = False  # a node whose BMC did not answer while all was well is never fenced
    bmc_password_file: str = "/etc/pvc/bmc.secret"  # YAML: the password of each node's BMC by name, or ``default``
    watchdog_device: str = "/dev/watchdog"
    rejoin_grace: float = 4.0  # seconds after this node's connection came back in which no other is suspected
    boot_grace: float = 120.0  # the same for a node that was away already when this daemon started


@dataclass(frozen=True)
class ZookeeperConfig:
    hosts: tuple[str, ...]  # host:port
    session_timeout: float = 6.0
    metrics_port: int = 0  # of the servers' own metrics for Prometheus; 0: they are asked by ``mntr``


@dataclass(frozen=True)
class PostgresqlConfig:
    """``hosts`` are the servers of one cluster, ``host`` or ``host:port``; which of them takes writes is found out."""

    hosts: tuple[str, ...]
    name: str = "pvc"
    user: str = "pvc"
    password_file: str = "/etc/pvc/postgresql.secret"

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each. Raises ValueError for what is neither ``host`` nor ``host:port``."""
        return tuple(_server("postgresql.hosts", host, 5432) for host in self.hosts)


@dataclass(frozen=True)
class RedisConfig:
    url: str  # redis://host:port/db, or the Sentinels: sentinel://host:port;sentinel://host:port
    master_name: str = "pvc"  # what the Sentinels call the master

    @property
    def sentinels(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each Sentinel; none where Redis is a single server. Raises ValueError for another URL."""
        if not self.url.startswith("sentinel://"):
            return ()
        hosts = (url.strip().removeprefix("sentinel://").rstrip("/") for url in self.url.split(";"))
        return tuple(_server("redis.url", host, 26379) for host in hosts)


@dataclass(frozen=True)
class OsdConfig:
    """How OSDs are made on this node's disks, and their daemons started. ``{id}`` in a command is the OSD's."""

    method: Literal["auto", "lvm", "partitions"] = "auto"  # auto: partitions where the kernel has no device-mapper
    directory: str = "/var/lib/ceph/osd"
    user: str = "ceph"  # to whom an OSD's files and partitions belong; empty: they stay as they are
    start: tuple[str, ...] = ("systemctl", "enable", "--now", "ceph-osd@{id}")
    stop: tuple[str, ...] = ("systemctl", "disable", "--now", "ceph-osd@{id}")
    loop_files: str = ""  # loop devices over files below this directory count as disks of the node


@dataclass(frozen=True)
class CephConfig:
    config_file: str = "/etc/ceph/ceph.conf"
    keyring: str = "/etc/ceph/ceph.client.admin.keyring"
    user: str = "admin"
    libvirt_secret_uuid: str = ""  # libvirt's secret that holds the key; empty where cephx is off
    osd: OsdConfig = OsdConfig()
    full_ratio: float = 0.80  # a request that would fill a pool beyond this is refused unless forced


@dataclass(frozen=True)
class LibvirtConfig:
    uri: str = "qemu:///system"
    domain_type: Literal["auto", "kvm", "qemu"] = "auto"
    probe_kernel: str = ""  # a kernel to boot when ``auto`` is decided; empty: the newest in /boot


@dataclass(frozen=True)
class NetworkConfig:
    """``bridge_device`` carries the bridged networks to the switches."""

    bridge_device: str = ""
    bridge_transport: Literal["vlan", "vxlan"] = "vlan"
    bridge_mtu: int = 1500


@dataclass(frozen=True)
class ApiConfig:
    """``tls_certificate`` and ``tls_key`` are PEM files; without them the API speaks plain HTTP."""

    listen: str = "0.0.0.0:7370"
    tls_certificate: str = ""
    tls_key: str = ""
    secret_key_file: str = "/etc/pvc/django.secret"
    allowed_hosts: tuple[str, ...] = ("*",)
    open_metrics: bool = True  # metrics need no token, as with PVC 1.0


@dataclass(frozen=True)
class DaemonConfig:
    """``listen`` serves logs to the API on the cluster network, to callers that show the cluster's secret."""

    listen_port: int = 7371
    cluster_secret_file: str = "/etc/pvc/cluster.secret"
    log_directory: str = "/var/log/pvc"
    console_directory: str = "/var/log/pvc/console"
    state_directory: str = "/var/lib/pvc"
    spool_directory: str = "/var/lib/pvc/spool"
    console_log_lines: int = 1000
    node_log_lines: int = 2000


@dataclass(frozen=True)
class WorkerConfig:
    control_concurrency: int = 8
    bulk_concurrency: int = 2
    heartbeat_interval: float = 3.0
    heartbeat_limit: float = 20.0  # a task whose worker was silent for this long is taken from it


@dataclass(frozen=True)
class HistoryConfig:
    """For how many days what is over is kept; 0: for ever. The last backup of each machine stays known anyway."""

    keep_tasks: float = 30.0
    keep_audit: float = 400.0


@dataclass(frozen=True)
class MailConfig:
    """The server that takes reports by mail; none are sent without a host."""

    host: str = ""
    port: int = 25
    sender: str = "pvc@localhost"
    starttls: bool = False
    user: str = ""  # empty: it asks for no password
    password_file: str = "/etc/pvc/mail.secret"


@dataclass(frozen=True)
class Config:
    """The whole of ``pvc.conf``; defaults in the classes above."""

    node: NodeConfig
    zookeeper: ZookeeperConfig
    postgresql: PostgresqlConfig
    redis: RedisConfig
    floating_addresses: Addresses = Addresses()  # noqa: RUF009 - frozen; held by whichever node is primary
    timing: TimingConfig = TimingConfig()
    fencing: FencingConfig = FencingConfig()
    ceph: CephConfig = CephConfig()
    libvirt: LibvirtConfig = LibvirtConfig()
    network: NetworkConfig = NetworkConfig()
    api: ApiConfig = ApiConfig()
    daemon: DaemonConfig = DaemonConfig()
    worker: WorkerConfig = WorkerConfig()
    history: HistoryConfig = HistoryConfig()
    mail: MailConfig = MailConfig()

    @staticmethod
    def secret(path: str) -> str:
        """Content of a secret's file, stripped. Raises BadRequest when it cannot be read."""
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise BadRequest(f"the secret file {path} cannot be read: {error.strerror}") from None


def load(path: Path | None = None) -> Config:
    """Read and check the configuration from ``path``, else from $PVC_CONFIG_FILE, else from /etc/pvc/pvc.conf.

    Raises BadRequest with the file, the place in it and what is wrong. An unknown key is an error too, since it is
    most often a known one misspelt.
    """
    path = path or Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadRequest(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if _failed_fence(raw) == "migrate":
        raise BadRequest(
            f"{path}: fencing.failed_fence: migrate would start a VM while its first copy may run on, and damage its "
            "disks; use retry, and pvc node fence-confirm for a node that you have seen to be off"
        )
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{path}: {error}") from None
    unknown = _unknown(raw, Config)
    if unknown:
        raise BadRequest(f"{path}: unknown key {unknown[0]}")
    try:
        _check_servers(config)
        config = replace(config, node=replace(config.node, addresses=_normal(config.node.addresses)))
        _check_floating(config)
        _check_fencing(config)
    except ValueError as error:
        raise BadRequest(f"{path}: {error}") from None
    return config


def _check_servers(config: Config) -> None:
    """Raise ValueError for servers that cannot be."""
    if not config.postgresql.servers:
        raise ValueError("postgresql.hosts: names no server")
    if not config.redis.sentinels and not config.redis.url.startswith(("redis://", "rediss://")):
        raise ValueError(
            f"redis.url: {config.redis.url!r} is neither redis://host:port/db nor sentinel://host:port;..."
        )


def _server(place: str, text: str, port: int) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port`` or ``[host]:port``, with ``port`` where none is given."""
    try:
        address = urlsplit(f"//{text}")
        if address.hostname and address.netloc == text and "@" not in text:
            return address.hostname, address.port or port
    except ValueError:
        pass
    raise ValueError(f"{place}: {text!r} is no server; write host, host:port or [IPv6 address]:port")


def _normal(addresses: Addresses) -> Addresses:
    """The addresses in the one form in which they are compared. Raises ValueError for one that is none: a fence would
    find that out too late."""
    for network, address in asdict(addresses).items():
        if address and _host(address) is None:
            raise ValueError(f"node.addresses.{network}: {address!r} is no address such as 10.0.0.1/24")
    return Addresses(**{name: str(ip_interface(cidr)) if cidr else "" for name, cidr in asdict(addresses).items()})


def _check_floating(config: Config) -> None:
    """Raise ValueError for a floating address that could not be held."""
    for network, floating in asdict(config.floating_addresses).items():
        if not floating:
            continue
        place, own = f"floating_addresses.{network}", getattr(config.node.addresses, network)
        host = _host(floating)
        if host is None:
            raise ValueError(f"{place}: {floating!r} is no address in CIDR notation, such as 192.0.2.10/24")
        if config.node.role is NodeRole.COORDINATOR and not own:
            raise ValueError(f"{place}: node.addresses.{network}, beside which it would be held, is missing")
        if host == _host(own):
            raise ValueError(f"{place}: {floating} is this node's own address")
        if config.zookeeper.session_timeout < FLOATING_SESSION:
            raise ValueError(f"zookeeper.session_timeout: floating addresses need at least {FLOATING_SESSION:g} s")


def _host(cidr: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_interface(cidr).ip if "/" in cidr else None
    except ValueError:
        return None


def _check_fencing(config: Config) -> None:
    """Raise ValueError for settings of fencing that contradict each other."""
    fencing, interval = config.fencing, config.timing.keepalive_interval
    if fencing.fence_intervals * interval <= config.zookeeper.session_timeout:
        raise ValueError(
            f"fencing.fence_intervals: {fencing.fence_intervals} keepalive intervals of {interval:g} s end before the "
            f"session of a silent node does (zookeeper.session_timeout, {config.zookeeper.session_timeout:g} s)"
        )
    if "watchdog" in fencing.methods and not fencing.suicide_intervals:
        raise ValueError("fencing.methods: watchdog needs fencing.suicide_intervals, after which it bites")


def _failed_fence(raw: object) -> object:
    """The setting as it was written: PVC 1.0 knew a value that this version must not accept."""
    fencing = raw.get("fencing") if isinstance(raw, dict) else None
    return fencing.get("failed_fence") if isinstance(fencing, dict) else None


def _unknown(raw: dict[str, object], kind: type, prefix: str = "") -> list[str]:
    """Dotted names of the keys in ``raw`` that the dataclass ``kind`` does not have."""
    fields = get_type_hints(kind)
    found = []
    for key, value in raw.items():
        if key not in fields:
            found.append(prefix + key)
        elif isinstance(value, dict) and isinstance(fields[key], type):
            found += _unknown(value, fields[key], f"{prefix}{key}.")
    return found
