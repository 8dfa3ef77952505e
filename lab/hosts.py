"""Which services each host of a cluster runs, and their configuration."""

from __future__ import annotations

import shlex
import sys

import yaml

from lab import backing, certificates, clocks, disks, osd, patroni, sentinel
from lab.ceph import Ceph
from lab.cluster import BMC_NETWORK, BMC_USER, INFRA, Cluster
from lab.service import Service

ZOOKEEPER_PORT = 2181
POSTGRESQL_PORT, PATRONI_PORT = 5432, 8008
REDIS_PORT, SENTINEL_PORT = 6379, 26379
WEB_PORT, HTTPS_PORT = 7370, 7443
DATA = "/var/lib/pvc"
ZOOKEEPER_HEAP_MIB = 256
ADDRESSED = ("upstream", "cluster", "storage")  # the networks that PVC itself knows the nodes' addresses in

# The parts of PVC itself on a node; they are held back until the database has its tables.
PVC_SERVICES = ("pvc-node", "pvc-control", "pvc-bulk", "pvc-beat", "pvc-web")


def services(cluster: Cluster, host: str, domain_type: str = "qemu") -> list[Service]:
    """Every service of a host. ``domain_type`` is how its machines run: ``kvm`` or ``qemu``."""
    found = []
    if host in cluster.backers:
        found += _single(cluster) if host == INFRA else _member(cluster, host)
        found += _ceph(cluster).services(host)
    if host in cluster.nodes:
        found += _hypervisor(cluster, host) + _pvc(cluster, host, domain_type)
    return clocks.told(cluster, found)


def _single(cluster: Cluster) -> list[Service]:
    """ZooKeeper, PostgreSQL and Redis, one of each."""
    address = cluster.address(INFRA, "cluster")
    return [
        backing.zookeeper(f"{DATA}/zookeeper", address, ZOOKEEPER_PORT),
        backing.postgresql(f"{DATA}/postgresql", address, POSTGRESQL_PORT, cluster.secret("postgresql")),
        backing.redis(f"{DATA}/redis", address, REDIS_PORT),
    ]


def _member(cluster: Cluster, host: str) -> list[Service]:
    """A coordinator's part of ZooKeeper's ensemble, of PostgreSQL under Patroni and of Redis with Sentinel."""
    address = cluster.address(host, "cluster")
    ensemble = [cluster.address(other, "cluster") for other in cluster.backers]
    quorum = len(ensemble) // 2 + 1
    return [
        backing.zookeeper(f"{DATA}/zookeeper", address, ZOOKEEPER_PORT, ZOOKEEPER_HEAP_MIB, ensemble),
        patroni.service(
            f"{DATA}/postgresql",
            host,
            address,
            POSTGRESQL_PORT,
            PATRONI_PORT,
            _each(cluster, ZOOKEEPER_PORT),
            cluster.secret("postgresql"),
            cluster.name,
        ),
        *sentinel.services(f"{DATA}/redis", address, REDIS_PORT, SENTINEL_PORT, ensemble[0], quorum),
    ]


def _ceph(cluster: Cluster) -> Ceph:
    monitors = {host: cluster.address(host, "storage") for host in cluster.backers}
    return Ceph(cluster.identity("ceph"), monitors, f"{DATA}/ceph", "/etc/ceph/ceph.conf")


def _each(cluster: Cluster, port: int) -> list[str]:
    """A port of every host that carries ZooKeeper, PostgreSQL and Redis."""
    return [f"{cluster.address(host, 'cluster')}:{port}" for host in cluster.backers]


def _hypervisor(cluster: Cluster, host: str) -> list[Service]:
    """libvirtd, as root and without security drivers: the namespaces stand for the server."""
    address = cluster.address(host, "cluster")
    ceph = _ceph(cluster)
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
                ceph.configuration: ceph.content(),
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
    authority = "/etc/pvc/lab-ca.pem"
    files[authority] = certificates.authority(cluster.state.parent).read_text()
    if cluster.bmcs:
        files["/etc/pvc/bmc.secret"] = yaml.safe_dump({"default": cluster.secret("bmc")})
    address = cluster.address(host, "upstream")

    def daemon(name: str, *arguments: str, ready: tuple[str, ...] = ()) -> Service:
        return Service(
            name=name,
            directory=DATA,
            files=files,
            argv=(sys.executable, *arguments),
            # Those that answer no request are judged by what the API says of the cluster; here, that they stay up.
            ready=ready or ("sh", "-c", f"sv status {name} | grep -Eq '^run: .* ([2-9]|[0-9]{{2,}})s'"),
            environment={"PYTHONUNBUFFERED": "1", "SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority},
        )

    everywhere = [
        daemon("pvc-node", "-m", "pvc_node"),
        daemon("pvc-control", "-m", "pvc_tasks.worker", "control"),
        daemon("pvc-bulk", "-m", "pvc_tasks.worker", "bulk"),
    ]
    if host not in cluster.coordinators:
        return everywhere
    both = "/etc/pvc/api.pem"
    https = Service(
        name="https",
        directory=DATA,
        files={both: certificates.certificate(cluster)},
        argv=(
            *(sys.executable, "-m", "lab.publish", "--certificate", both),
            *(f"0.0.0.0:{HTTPS_PORT}", f"{address}:{WEB_PORT}"),
        ),
        ready=("bash", "-c", f"exec 3<>/dev/tcp/{address}/{HTTPS_PORT}"),
    )
    return [
        *everywhere,
        https,
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


def https_address(cluster: Cluster) -> str:
    """Where other clusters reach the API: at the node that is primary."""
    return f"https://{cluster.floating('upstream').partition('/')[0]}:{HTTPS_PORT}"


def configuration(cluster: Cluster, node: str, domain_type: str) -> dict[str, object]:
    """Content of a node's pvc.conf."""
    return {
        "node": _node(cluster, node),
        "zookeeper": {"hosts": _each(cluster, ZOOKEEPER_PORT)},
        "postgresql": {"hosts": _each(cluster, POSTGRESQL_PORT)},
        "redis": {"url": _redis_url(cluster)},
        "floating_addresses": {network: cluster.floating(network) for network in ADDRESSED},
        "ceph": {"osd": _osd(cluster, node)},
        "libvirt": {"domain_type": domain_type},
        # VXLAN, since the machine's kernel may have no VLANs; it is the same on every machine this way.
        "network": {"bridge_device": "provider", "bridge_transport": "vxlan"},
        "api": {"listen": f"0.0.0.0:{WEB_PORT}"},
    }


def _osd(cluster: Cluster, node: str) -> dict[str, object]:
    data, kept = f"{DATA}/osd", cluster.state / node / "service"
    return {
        "directory": data,
        "user": "",
        "start": osd.command("start", data, kept),
        "stop": osd.command("stop", data, kept),
        "loop_files": str(disks.directory(cluster, node)),
    }


def _node(cluster: Cluster, node: str) -> dict[str, object]:
    known: dict[str, object] = {
        "name": node,
        "role": "coordinator" if node in cluster.coordinators else "hypervisor",
        "addresses": {network: cluster.interface(node, network) for network in ADDRESSED},
        "boot_id_file": "/run/boot-id",
    }
    if node in cluster.bmcs:
        address = cluster.address(cluster.bmc(node), BMC_NETWORK)
        known |= {"site": cluster.site(node), "bmc": {"address": address, "user": BMC_USER, "driver": "ipmi"}}
    return known


def _redis_url(cluster: Cluster) -> str:
    if cluster.profile == "light":
        return f"redis://{_each(cluster, REDIS_PORT)[0]}/0"
    return ";".join(f"sentinel://{sentinel}" for sentinel in _each(cluster, SENTINEL_PORT))


def _settings(values: dict[str, object]) -> str:
    """A libvirt configuration file."""

    def literal(value: object) -> str:
        return str(value) if isinstance(value, int) else f'"{value}"' if isinstance(value, str) else "[]"

    return "".join(f"{key} = {literal(value)}\n" for key, value in values.items())
