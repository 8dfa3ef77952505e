"""The cluster as a whole, and its tasks."""

from __future__ import annotations

from cli.output import Column, Row, Section, Sheet, Table, as_text, dig, size
from cli.tables.cells import by_health, by_state, by_state_counts, duration, if_any, moment, percent


def _health_of_nodes(row: Row) -> list[Row]:
    return [{"name": name, **node} for name, node in (row.get("node_health") or {}).items()]


def _maintenance(row: Row) -> str:
    return "on" if str(row.get("maintenance")).lower() == "true" else "off"


def _survival(row: Row) -> str:
    """Whether the cluster could lose a node; the API says null until it knows."""
    known = row.get("n_minus_1")
    if not known:
        return "not known yet"
    lost = [f"{len(machines)} of the machines on {node}" for node, machines in known["nodes"].items()]
    return f"no: there is no place for {', '.join(lost)}" if lost else "yes"


def _vcpu_use(row: Row) -> str:
    vcpu = dig(row, "resources.vcpu") or {}
    return f"{vcpu.get('allocated')} allocated of {vcpu.get('total')}, load {as_text(vcpu.get('load'))}"


def _memory_use(row: Row) -> str:
    memory = dig(row, "resources.memory") or {}
    return f"{memory.get('used')} MiB used of {memory.get('total')}, {memory.get('allocated')} allocated to machines"


def _disk_use(row: Row) -> str:
    """The API counts in KiB here."""
    disk = dig(row, "resources.disk") or {}
    return f"{size(1024 * disk.get('used', 0))} used of {size(1024 * disk.get('total', 0))}"


CLUSTER_SHORT = Sheet(
    (
        Column("Health", percent("cluster_health.health"), paint=by_health),
        Column("Because of", lambda row: "; ".join(dig(row, "cluster_health.messages") or [])),
        Column("Maintenance", _maintenance, paint=by_state),
        Column("Primary node", "primary_node"),
    )
)

CLUSTER = Sheet(
    (
        *CLUSTER_SHORT.fields,
        Column("Could lose any node", _survival, paint=lambda text: "red" if text.startswith("no:") else None),
        Column("Version", "pvc_version"),
        Column("Upstream address", "upstream_ip"),
        Column("Nodes", by_state_counts("nodes")),
        Column("Machines", by_state_counts("vms")),
        Column("Networks", "networks"),
        Column("OSDs", by_state_counts("osds")),
        Column("Pools", "pools"),
        Column("Volumes", "volumes"),
        Column("Snapshots", "snapshots"),
    ),
    sections=(
        Section(
            "Health of the nodes",
            table=Table(
                (
                    Column("Node", "name"),
                    Column("Health", percent("health"), right=True, paint=by_health),
                    Column("Because of", lambda node: "; ".join(node.get("messages") or [])),
                ),
                empty="No nodes.",
            ),
            rows=_health_of_nodes,
        ),
        Section(
            "Use",
            (
                Column("vCPUs", _vcpu_use),
                Column("Memory", _memory_use),
                Column("Disk", _disk_use),
            ),
        ),
    ),
)

TASKS = Table(
    (
        Column("ID", "task_id"),
        Column("Task", "task_name"),
        Column("Subject", "subject"),
        Column("State", "state", paint=by_state),
        Column("Steps", lambda task: f"{task.get('current')}/{task.get('total')}", right=True),
        Column("Asked by", "requested_by"),
        Column("Runs on", "run_on"),
        Column("Created", lambda task: moment(task.get("created"))),
        Column("Took", lambda task: duration(task.get("duration")), right=True),
        Column("Status", "status"),
    ),
    empty="No tasks.",
    key="task_id",
)

TASK = Sheet(
    (
        Column("ID", "task_id"),
        Column("Task", "task_name"),
        Column("Subject", "subject"),
        Column("State", "state", paint=by_state),
        Column("Status", "status"),
        Column("Steps", lambda task: f"{task.get('current')} of {task.get('total')}"),
        Column("Asked by", "requested_by"),
        Column("Runs on", "run_on"),
        Column("Created", lambda task: moment(task.get("created"))),
        Column("Started", lambda task: moment(task.get("started"))),
        Column("Ended", lambda task: moment(task.get("ended"))),
        Column("Took", lambda task: duration(task.get("duration"))),
        Column("Error", "error.message", paint=if_any),
        Column("Left behind", "left", paint=if_any),
    )
)
