"""Redis on several hosts: a Sentinel beside each watches the master, and they choose another when it is gone."""

from __future__ import annotations

from lab.service import Service

MASTER = "pvc"  # the name under which clients ask the Sentinels for the master


def services(
    directory: str, address: str, redis_port: int, sentinel_port: int, first_master_address: str, quorum: int
) -> list[Service]:
    """Redis and the Sentinel of one host. ``quorum`` Sentinels have to find the master dead before it is replaced.

    The ports are those of every host. The master of a new set is at ``first_master_address``; afterwards both daemons
    keep what has become of the set in their configuration files.
    """
    redis_new, sentinel_new = f"{directory}/redis.new", f"{directory}/sentinel.new"
    follow = "" if first_master_address == address else f"replicaof {first_master_address} {redis_port}\n"
    return [
        Service(
            name="redis",
            directory=directory,
            files={
                redis_new: f"bind {address}\nport {redis_port}\ndir {directory}\nsave \"\"\nappendonly no\n"
                f"protected-mode no\nrepl-diskless-sync-delay 0\nrepl-timeout 5\n"
                # A host has more addresses than this one, and connects from any of them.
                f"replica-announce-ip {address}\n{follow}"
            },
            setup=_once(redis_new, f"{directory}/redis.conf"),
            argv=("redis-server", f"{directory}/redis.conf"),
            ready=("sh", "-c", f"redis-cli -h {address} -p {redis_port} ping | grep -q PONG"),
        ),
        Service(
            name="sentinel",
            directory=directory,
            files={
                sentinel_new: f"bind {address}\nport {sentinel_port}\ndir {directory}\nprotected-mode no\n"
                f"sentinel announce-ip {address}\n"
                f"sentinel monitor {MASTER} {first_master_address} {redis_port} {quorum}\n"
                # Milliseconds: of silence until a server counts as dead, and until a try to replace it is given up.
                f"sentinel down-after-milliseconds {MASTER} 2000\n"
                f"sentinel failover-timeout {MASTER} 5000\n"
            },
            setup=_once(sentinel_new, f"{directory}/sentinel.conf"),
            argv=("redis-sentinel", f"{directory}/sentinel.conf"),
            ready=(
                "sh", "-c",
                f"redis-cli -h {address} -p {sentinel_port} sentinel get-master-addr-by-name {MASTER} | grep -q .",
            ),
        ),
    ]  # fmt: skip


def _once(source: str, target: str) -> str:
    """Shell code that makes the file a daemon goes on to write itself."""
    return f"[ -e {target} ] || cp {source} {target}"
