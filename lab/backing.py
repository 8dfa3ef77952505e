"""The services that the cluster stands on, beside Ceph: ZooKeeper, and a single PostgreSQL and Redis.

None of them writes its data through to the disk: a laboratory does not outlive its machine, and start-up is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.service import Service

ZOOKEEPER_PEER_PORT, ZOOKEEPER_ELECTION_PORT = 2888, 3888
POSTGRESQL_BIN = "/usr/lib/postgresql/15/bin"


def zookeeper(directory: str, address: str, port: int, heap_mib: int = 512, ensemble: Sequence[str] = ()) -> Service:
    """A server of its own, or one of several: ``ensemble`` holds the addresses of all, this one's among them."""
    configuration = f"{directory}/zoo.cfg"
    logging = f"{directory}/log4j.properties"
    members = "".join(
        f"server.{number}={member}:{ZOOKEEPER_PEER_PORT}:{ZOOKEEPER_ELECTION_PORT}\n"
        for number, member in enumerate(ensemble, 1)
    )
    identity = {f"{directory}/myid": f"{ensemble.index(address) + 1}\n"} if ensemble else {}
    return Service(
        name="zookeeper",
        directory=directory,
        argv=(
            "java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xms64m", f"-Xmx{heap_mib}m",
            "-Dzookeeper.forceSync=no", "-Dzookeeper.admin.enableServer=false", "-Dzookeeper.4lw.commands.whitelist=*",
            # Milliseconds that an election spends on a member that is silent.
            "-Dzookeeper.cnxTimeout=1000",
            f"-Dlog4j.configuration=file:{logging}", "-cp", "/usr/share/java/zookeeper.jar",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", configuration,
        ),
        files={
            # A session may be as short as two ticks and as long as twenty; limits are counted in ticks too.
            configuration: f"dataDir={directory}\nclientPort={port}\nclientPortAddress={address}\n"
            f"tickTime=500\ninitLimit=20\nsyncLimit=4\nmaxClientCnxns=0\n{members}",
            logging: "log4j.rootLogger=INFO, out\n"
            "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d %p %c{1}: %m%n\n",
            **identity,
        },
        # A member without quorum does not tell a mode.
        ready=(
            "timeout", "3", "bash", "-c",
            f"exec 3<>/dev/tcp/{address}/{port} && printf srvr >&3 && [[ $(cat <&3) == *Mode:* ]]",
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


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for an error message; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
