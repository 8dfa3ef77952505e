"""PostgreSQL on several hosts: Patroni runs a server on each, and ZooKeeper says which of them takes writes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import yaml

from lab.backing import POSTGRESQL_BIN
from lab.service import Service

# Seconds. A leader whose session is silent for ``ttl`` is replaced; one that does not reach ZooKeeper gives its role up
# after ``retry_timeout``, and has to be done with that in time: loop_wait + 2 * retry_timeout <= ttl. As short as this
# because all of it may come after ZooKeeper's own election, when its leader was on the same host.
TIMING = {"ttl": 3, "loop_wait": 1, "retry_timeout": 1}


def service(
    directory: str,
    name: str,
    address: str,
    port: int,
    rest_port: int,
    zookeeper_hosts: Sequence[str],
    password: str,
    scope: str,
) -> Service:
    """Member ``name`` of the cluster ``scope``, whose superuser ``pvc`` owns the database ``pvc``.

    ``rest_port`` is Patroni's own, where the members ask each other how far they are: ``GET /primary`` answers 200 on
    the leader alone. Ready is a member that takes writes, or follows one that does.
    """
    configuration = f"{directory}/patroni.yml"
    data = f"{directory}/data"
    user = {"username": "pvc", "password": password}
    content = {
        "scope": scope,
        "name": name,
        "restapi": {"listen": f"{address}:{rest_port}", "connect_address": f"{address}:{rest_port}"},
        "zookeeper": {"hosts": list(zookeeper_hosts)},
        "watchdog": {"mode": "off", "safety_margin": -1},  # with another margin, it is a warning each second
        "bootstrap": {
            "dcs": {
                **TIMING,
                "synchronous_mode": True,  # what was committed is on a second member, which alone may succeed
                "primary_start_timeout": 0,  # a crashed leader is replaced rather than waited for
                "check_timeline": True,
                "postgresql": {
                    "use_pg_rewind": True,
                    "remove_data_directory_on_rewind_failure": True,
                    "remove_data_directory_on_diverged_timelines": True,
                    # A follower needs no slot of the new leader's to go on, and finds what it lacks in the log.
                    "use_slots": False,
                    "parameters": {"max_connections": 300, "wal_keep_size": "512MB"},
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "no-sync"],
            # Patroni appends a connection string, which the shell sees as $0.
            "post_bootstrap": shlex.join(["sh", "-c", 'exec psql --quiet "$0" --command="CREATE DATABASE pvc"']),
        },
        "postgresql": {
            "listen": f"{address}:{port}",
            "connect_address": f"{address}:{port}",
            "bin_dir": POSTGRESQL_BIN,
            "data_dir": data,
            "pgpass": f"{directory}/pgpass",
            "basebackup": [{"checkpoint": "fast"}, "no-sync"],
            "authentication": {"superuser": user, "replication": user},
            "pg_hba": [
                "local all all trust",
                "host all all all scram-sha-256",
                "host replication all all scram-sha-256",
            ],
            "parameters": {
                "unix_socket_directories": directory,
                "fsync": False,
                "shared_buffers": "32MB",
                # A member that vanished without a word holds no commit up for longer.
                "wal_sender_timeout": "2s",
                "wal_receiver_timeout": "2s",
                "wal_retrieve_retry_interval": "500ms",  # a member soon follows, and can be the second of, a new leader
            },
        },
    }
    return Service(
        name="patroni",
        directory=directory,
        user="postgres",
        files={configuration: yaml.safe_dump(content, sort_keys=False)},
        # After a loss of power, the process id that the server left may be another process's.
        setup=f"pgrep --exact postgres >/dev/null || rm -f {data}/postmaster.pid",
        # Debian's, with Debian's kazoo and psycopg2, whatever interpreter comes first in the path.
        argv=("/usr/bin/python3", "/usr/bin/patroni", configuration),
        ready=(
            "sh", "-c",
            f"for role in primary replica; do curl --silent --fail --max-time 2 -o /dev/null "
            f"http://{address}:{rest_port}/$role && exit; done; exit 1",
        ),
    )  # fmt: skip
