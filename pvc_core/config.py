"""The installation's configuration: one YAML file, read once, valid or refused with one clear line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_type_hints

import msgspec
import yaml

from pvc_core.errors import BadRequest
from pvc_core.model.node import Addresses, NodeRole

DEFAULT_PATH = Path("/etc/pvc/pvc.conf")
PATH_VARIABLE = "PVC_CONFIG_FILE"


@dataclass(frozen=True)
class NodeConfig:
    """This node: who it is, and where it is reached."""

    name: str
    role: NodeRole = NodeRole.COORDINATOR
    addresses: Addresses = Addresses()  # noqa: RUF009 - frozen
    boot_id_file: str = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True)
class TimingConfig:
    """Seconds, but for the limit of restarts."""

    keepalive_interval: float = 2.0
    vm_shutdown_timeout: float = 180.0
    restart_backoff: float = 2.0  # doubled with each crash in a row
    restart_limit: int = 5  # crashes in a row before a machine is failed
    restart_reset: float = 60.0  # a run at least this long ends a row of crashes


@dataclass(frozen=True)
class ZookeeperConfig:
    hosts: tuple[str, ...]  # host:port
    session_timeout: float = 6.0


@dataclass(frozen=True)
class PostgresqlConfig:
    host: str
    name: str = "pvc"
    user: str = "pvc"
    password_file: str = "/etc/pvc/postgresql.secret"
    port: int = 5432


@dataclass(frozen=True)
class RedisConfig:
    url: str  # redis://host:port/db; several separated by ; for Sentinel


@dataclass(frozen=True)
class CephConfig:
    config_file: str = "/etc/ceph/ceph.conf"
    keyring: str = "/etc/ceph/ceph.client.admin.keyring"
    user: str = "admin"
    libvirt_secret_uuid: str = ""  # libvirt's secret that holds the key; empty where cephx is off
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
    heartbeat_limit: float = 12.0  # a task whose worker was silent for this long is taken from it


@dataclass(frozen=True)
class Config:
    """The whole of ``pvc.conf``; defaults in the classes above."""

    node: NodeConfig
    zookeeper: ZookeeperConfig
    postgresql: PostgresqlConfig
    redis: RedisConfig
    upstream_floating_ip: str = ""
    timing: TimingConfig = TimingConfig()
    ceph: CephConfig = CephConfig()
    libvirt: LibvirtConfig = LibvirtConfig()
    network: NetworkConfig = NetworkConfig()
    api: ApiConfig = ApiConfig()
    daemon: DaemonConfig = DaemonConfig()
    worker: WorkerConfig = WorkerConfig()

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
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{path}: {error}") from None
    unknown = _unknown(raw, Config)
    if unknown:
        raise BadRequest(f"{path}: unknown key {unknown[0]}")
    return config


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
