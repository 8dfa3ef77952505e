"""The services that the cluster stands on: ZooKeeper, PostgreSQL, Redis and Ceph.

None of them writes its data through to the disk: a laboratory does not outlive its machine, and start-up is faster.
"""

from __future__ import annotations

from pathlib import Path

from lab.service import Service

POSTGRESQL_BIN = "/usr/lib/postgresql/15/bin"


def zookeeper(directory: str, address: str, port: int, heap_mib: int = 512) -> Service:
    configuration = f"{directory}/zoo.cfg"
    logging = f"{directory}/log4j.properties"
    return Service(
        name="zookeeper",
        directory=directory,
        argv=(
            "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", f"-Xmx{heap_mib}m",
            "-Dzookeeper.forceSync=no", "-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=*",
            f"-Dlog4j.configuration=file:{logging}", "-cp", "/usr/share/java/zookeeper.jar",
            "org.apache.zookeeper.server.ZooKeeperServerMain", configuration,
        ),
        files={
            # A session may be as short as two ticks and as long as twenty.
            configuration: f"dataDir={directory}\nclientPort={port}\nclientPortAddress={address}\n"
            "tickTime=1000\nmaxClientCnxns=0\n",
            logging: "log4j.rootLogger=INFO, out\n"
            "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d %p %c{1}: %m%n\n",
        },
        ready=(
            "timeout", "3", "bash", "-c",
            f"exec 3<>/dev/tcp/{address}/{port} && printf ruok >&3 && read -rN4 answer <&3 && [[ $answer == imok ]]",
        ),
    )  # fmt: skip


def postgresql(directory: str, address: str, port: int, password: str) -> Service:
    """A server whose superuser ``pvc`` owns the database ``pvc``: tests make databases of their own there."""
    data = f"{directory}/data"
    password_file = f"{directory}/password"
    setup = f"""if [ ! -e {data}/ready ]; then
    rm -rf {data}
    {POSTGRESQL_BIN}/initdb --no-sync --pgdata={data} --username=pvc --pwfile={password_file} \\
        --auth-host=scram-sha-256 --auth-local=trust --locale=C.UTF-8 --encoding=UTF8
    echo 'CREATE DATABASE pvc' | {POSTGRESQL_BIN}/postgres --single -D {data} -c fsync=off postgres
    echo 'host all all all scram-sha-256' >> {data}/pg_hba.conf
    touch {data}/ready
fi
rm -f {data}/postmaster.pid"""
    settings = {
        "listen_addresses": address,
        "port": str(port),
        "unix_socket_directories": directory,
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "300",
    }
    return Service(
        name="postgresql",
        directory=directory,
        user="postgres",
        files={password_file: password + "\n"},
        setup=setup,
        argv=(f"{POSTGRESQL_BIN}/postgres", "-D", data, *(f"--{name}={value}" for name, value in settings.items())),
        ready=(f"{POSTGRESQL_BIN}/pg_isready", "--quiet", "-h", address, "-p", str(port)),
    )


def redis(directory: str, address: str, port: int) -> Service:
    return Service(
        name="redis",
        directory=directory,
        argv=(
            "redis-server", "--bind", address, "--port", str(port), "--dir", directory, "--save", "",
            "--appendonly", "no", "--protected-mode", "no", "--daemonize", "no",
        ),
        ready=("sh", "-c", f"redis-cli -h {address} -p {port} ping | grep -q PONG"),
    )  # fmt: skip


def ceph_configuration(directory: str, fsid: str, address: str, ports: tuple[int, int], memory_gib: int = 8) -> str:
    """Content of ceph.conf, for the daemons and for their clients alike.

    ``ports`` are the monitor's two, for the second and the first version of Ceph's protocol. One OSD keeps one copy of
    each object in memory; authentication is off, since all of it is in namespaces of its own or on loopback.
    """
    return f"""[global]
fsid = {fsid}
mon_host = [v2:{address}:{ports[0]},v1:{address}:{ports[1]}]
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
mon_warn_on_pool_no_redundancy = false
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 2
mon_data_avail_crit = 1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = {memory_gib << 30}
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mgr_initial_modules =
mgr_tick_period = 1
mgr_stats_period = 1
log_file =
log_to_stderr = true
run_dir = {directory}
admin_socket =
[mon]
mon_data = {directory}/mon
[mgr]
mgr_data = {directory}/mgr
[osd]
osd_data = {directory}/osd
public_addr = {address}
cluster_addr = {address}
"""


def ceph(
    directory: str, address: str, ports: tuple[int, int], fsid: str, configuration: str, memory_gib: int = 8
) -> list[Service]:
    """Monitor, manager and one OSD, with ceph.conf at the path ``configuration``."""
    client = ("ceph", "-c", configuration, "--connect-timeout", "10")
    content = ceph_configuration(directory, fsid, address, ports, memory_gib)
    new_monitor = f"""if [ ! -e {directory}/mon/ready ]; then
    rm -rf {directory}/mon {directory}/monmap
    mkdir {directory}/mon
    monmaptool --create --fsid {fsid} --addv a [v2:{address}:{ports[0]},v1:{address}:{ports[1]}] {directory}/monmap
    ceph-mon -c {configuration} --id a --mkfs --monmap {directory}/monmap
    touch {directory}/mon/ready
fi"""
    new_osd = f"""if [ ! -e {directory}/osd/ready ]; then
    rm -rf {directory}/osd
    mkdir {directory}/osd
    # This module would make a pool of its own, which nobody asked for.
    ceph -c {configuration} config set mgr mgr/devicehealth/enable_monitoring false --force
    ceph -c {configuration} osd new {fsid} 0
    ceph-osd -c {configuration} --id 0 --mkfs --osd-uuid {fsid}
    touch {directory}/osd/ready
fi"""

    def daemon(kind: str, identity: str, setup: str, ready: str) -> Service:
        return Service(
            name=f"ceph-{kind}",
            directory=directory,
            files={configuration: content},
            setup=setup,
            argv=(f"ceph-{kind}", "-c", configuration, "--id", identity, "-f"),
            ready=("sh", "-c", f"{' '.join(client)} {ready}"),
        )

    return [
        daemon("mon", "a", new_monitor, "mon stat"),
        daemon("mgr", "a", f"mkdir -p {directory}/mgr", "mgr stat | grep -q '\"available\": true'"),
        daemon("osd", "0", new_osd, "osd stat | grep -q '1 up'"),
    ]


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
