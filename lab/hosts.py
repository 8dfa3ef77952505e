"""Which services each host of a cluster runs, and their configuration."""

from __future__ import annotations

import shlex
import sys

import yaml

from lab import backing
from lab.cluster import INFRA, Cluster
from lab.service import Service

ZOOKEEPER_PORT = 2181
POSTGRESQL_PORT = 5432
REDIS_PORT = 6379
MONITOR_PORTS = (3300, 6789)
WEB_PORT = 7370
CEPH_CONFIGURATION = "/etc/ceph/ceph.conf"

# The parts of PVC itself on a node; they are held back until the database has its tables.
PVC_SERVICES = ("pvc-node", "pvc-control", "pvc-bulk", "pvc-beat", "pvc-web")


def services(cluster: Cluster, host: str, domain_type: str = "qemu") -> list[Service]:
    """Every service of a host. ``domain_type`` is how its machines run: ``kvm`` or ``qemu``."""
    return _infra(cluster) if host == INFRA else _hypervisor(cluster, host) + _pvc(cluster, host, domain_type)


def _infra(cluster: Cluster) -> list[Service]:
    address = cluster.address(INFRA, "cluster")
    data = "/var/lib/pvc"
    storage = cluster.address(INFRA, "storage")
    fsid = cluster.identity("ceph")
    return [
        backing.zookeeper(f"{data}/zookeeper", address, ZOOKEEPER_PORT),
        backing.postgresql(f"{data}/postgresql", address, POSTGRESQL_PORT, cluster.secret("postgresql")),
        backing.redis(f"{data}/redis", address, REDIS_PORT),
        *backing.ceph(f"{data}/ceph", storage, MONITOR_PORTS, fsid, CEPH_CONFIGURATION),
    ]


def _hypervisor(cluster: Cluster, host: str) -> list[Service]:
    """libvirtd, as root and without security drivers: the namespaces stand for the server."""
    address = cluster.address(host, "cluster")
    storage = cluster.address(INFRA, "storage")
    libvirtd = {
        "listen_tls": 0,
        "listen_tcp": 1,
        "listen_addr": address,
        "auth_tcp": "none",
        "auth_unix_rw": "none",
        # All hosts of the laboratory share one machine's, and libvirt migrates nothing to the host it comes from.
        "host_uuid": cluster.identity(host),
        "log_outputs": "3:stderr",
    }
    qemu = {
        "user": "root",
        "group": "root",
        "dynamic_ownership": 0,
        "remember_owner": 0,
        "security_driver": "none",
        "namespaces": [],
        "cgroup_controllers": [],
        "stdio_handler": "logd",
        "migration_address": address,
        "migration_host": address,
    }
    ceph = backing.ceph_configuration("/run", cluster.identity("ceph"), storage, MONITOR_PORTS)
    return [
        Service(
            name="virtlogd",
            directory="/var/lib/libvirt",
            files={"/etc/libvirt/virtlogd.conf": _settings({"log_outputs": "3:stderr"})},
            argv=("virtlogd",),
            ready=("test", "-S", "/run/libvirt/virtlogd-sock"),
        ),
        Service(
            name="libvirtd",
            directory="/var/lib/libvirt",
            files={
                "/etc/libvirt/libvirtd.conf": _settings(libvirtd),
                "/etc/libvirt/qemu.conf": _settings(qemu),
                CEPH_CONFIGURATION: ceph,
            },
            argv=("libvirtd", "--listen"),
            ready=("virsh", "--connect", "qemu:///system", "--quiet", "nodeinfo"),
        ),
    ]


def _pvc(cluster: Cluster, host: str, domain_type: str) -> list[Service]:
    files = {
        "/etc/pvc/pvc.conf": yaml.safe_dump(configuration(cluster, host, domain_type), sort_keys=False),
        "/etc/pvc/postgresql.secret": cluster.secret("postgresql") + "\n",
        "/etc/pvc/django.secret": cluster.secret("django") + "\n",
        "/etc/pvc/cluster.secret": cluster.secret("cluster") + "\n",
    }
    address = cluster.address(host, "upstream")

    def daemon(name: str, *arguments: str, ready: tuple[str, ...] = ()) -> Service:
        return Service(
            name=name,
            directory="/var/lib/pvc",
            files=files,
            argv=(sys.executable, *arguments),
            # Those that answer no request are judged by what the API says of the cluster; here, that they stay up.
            ready=ready or ("sh", "-c", f"sv status {name} | grep -Eq '^run: .* ([2-9]|[0-9]{{2,}})s'"),
            environment={"PYTHONUNBUFFERED": "1"},
        )

    return [
        daemon("pvc-node", "-m", "pvc_node"),
        daemon("pvc-control", "-m", "pvc_tasks.worker", "control"),
        daemon("pvc-bulk", "-m", "pvc_tasks.worker", "bulk"),
        daemon("pvc-beat", "-m", "pvc_tasks.beat"),
        daemon(
            "pvc-web",
            *("-m", "gunicorn", "-c", "python:pvc_web.config.gunicorn", "pvc_web.config.wsgi"),
            # The token goes by standard input, since a command line is seen by everyone.
            ready=(
                "sh",
                "-c",
                f"""printf 'header = "X-Api-Key: %s"' "$(cat {shlex.quote(str(cluster.token_file))})" |
                curl --fail --silent --max-time 5 --config - http://{address}:{WEB_PORT}/api/v1/""",
            ),
        ),
    ]


def configuration(cluster: Cluster, node: str, domain_type: str) -> dict[str, object]:
    """Content of a node's pvc.conf."""
    infra = cluster.address(INFRA, "cluster")
    networks = ("upstream", "cluster", "storage")
    return {
        "node": {
            "name": node,
            "role": "coordinator",
            "addresses": {network: cluster.interface(node, network) for network in networks},
            "boot_id_file": "/run/boot-id",
        },
        "zookeeper": {"hosts": [f"{infra}:{ZOOKEEPER_PORT}"]},
        "postgresql": {"host": infra, "port": POSTGRESQL_PORT},
        "redis": {"url": f"redis://{infra}:{REDIS_PORT}/0"},
        "upstream_floating_ip": cluster.floating,
        "libvirt": {"domain_type": domain_type},
        # VXLAN, since the machine's kernel may have no VLANs; it is the same on every machine this way.
        "network": {"bridge_device": "provider", "bridge_transport": "vxlan"},
        "api": {"listen": f"0.0.0.0:{WEB_PORT}"},
    }


def _settings(values: dict[str, object]) -> str:
    """A libvirt configuration file."""

    def literal(value: object) -> str:
        return str(value) if isinstance(value, int) else f'"{value}"' if isinstance(value, str) else "[]"

    return "".join(f"{key} = {literal(value)}\n" for key, value in values.items())
