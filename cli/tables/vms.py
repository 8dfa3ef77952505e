"""Virtual machines."""

from __future__ import annotations

from cli.output import Column, Row, Section, Sheet, Table, dig, size
from cli.tables.cells import age, ago, amount, by_state, duration, if_any, local_time, mebibytes, names


def _vm_networks(row: Row) -> list[str]:
    return [str(nic.get("vni") or nic.get("source")) for nic in row.get("networks") or []]


def _vnc(row: Row) -> str | None:
    """The API says ``None`` of a machine without VNC, and of one that does not run."""
    listen, port = dig(row, "vnc.listen"), dig(row, "vnc.port")
    return None if port in (None, "None") else f"{listen}:{port}"


def _changed(lines: list[str]) -> int:
    """Lines of a unified diff that were added or removed; its first two name what is compared."""
    return sum(line.startswith(("+", "-")) for line in lines[2:])


VMS = Table(
    (
        Column("Name", "name"),
        Column("State", "state", paint=by_state),
        Column("Tags", names("tags")),
        Column("Networks", _vm_networks),
        Column("vCPUs", "vcpu", right=True),
        Column("MiB", "memory", right=True),
        Column("Node", "node"),
        Column("Migrated", "migrated"),
    ),
    empty="No machine matches.",
)

TAGS = Table((Column("Tag", "name"), Column("Type", "type"), Column("Protected", "protected")), empty="No tags.")

VM_NETWORKS = Table(
    (
        Column("Network", lambda nic: nic.get("vni") or nic.get("source")),
        Column("Type", "type"),
        Column("MAC", "mac"),
        Column("Model", "model"),
    ),
    empty="No network cards.",
    key="mac",
)

VM_VOLUMES = Table(
    (Column("Volume", "name"), Column("Type", "type"), Column("Device", "dev"), Column("Bus", "bus")),
    empty="No disks.",
)

_AT_REST = {"guest": "file systems frozen", "paused": "as after a loss of power", "off": "was off"}

SNAPSHOTS = Table(
    (
        Column("Snapshot", "name"),
        Column("Taken", lambda row: local_time(row["timestamp"])),
        Column("Age", lambda row: age(row["age"]), right=True),
        Column("Size", amount("size"), right=True),
        Column("Disks", lambda row: len(row["rbd_snapshots"]), right=True),
        Column("State of the disks", lambda row: _AT_REST.get(row.get("quiesced", ""))),
        Column("Made for", "purpose"),
        Column("Changed XML lines", lambda row: _changed(row["xml_diff_lines"]), right=True),
    ),
    empty="No snapshots.",
)


MIRRORS = Table(
    (
        Column("VM", "name"),
        Column("Role", "mirror.role", paint=by_state),
        Column("Other cluster", lambda row: dig(row, "mirror.peer") or None),
        Column("Epoch", "mirror.epoch", right=True),
        Column("Shared snapshot", lambda row: dig(row, "mirror.snapshot") or None),
        Column("Lag", lambda row: duration(dig(row, "mirror.lag_seconds")), right=True),
        Column("Goal", lambda row: duration(dig(row, "mirror.goal") or None), right=True),
        Column("Not sent", amount("mirror.lag_bytes"), right=True),
        Column("Answered", lambda row: ago(dig(row, "mirror.answered")), right=True),
    ),
    empty="No machine has a mirror.",
)


VM = Sheet(
    (
        Column("Name", "name"),
        Column("UUID", "uuid"),
        Column("Description", "description"),
        Column("State", "state", paint=by_state),
        Column("Failed because", "failed_reason", paint=if_any),
        Column("Node", "node"),
        Column("Migrated", "migrated"),
        Column("vCPUs", "vcpu"),
        Column("Sockets/cores/threads", "vcpu_topology"),
        Column("Memory", mebibytes("memory")),
        Column("Tags", names("tags")),
        Column("Profile", "profile"),
        Column("Node limit", "node_limit"),
        Column("Node selector", "node_selector"),
        Column("Autostart", "node_autostart"),
        Column("Migration method", "migration_method"),
        Column("Migration downtime", lambda row: f"at most {row.get('migration_max_downtime')} ms"),
        Column("VNC", _vnc),
        Column("Console", "console"),
    ),
    sections=(
        Section("Network cards", table=VM_NETWORKS, rows="networks"),
        Section("Disks", table=VM_VOLUMES, rows="disks"),
        Section("Snapshots", table=SNAPSHOTS, rows="snapshots"),
    ),
    more=(
        Section(
            "Place among the others",
            (
                Column("Priority", "priority"),
                Column("With machines tagged", "affinity"),
                Column("Without machines tagged", "anti_affinity"),
            ),
        ),
        Section(
            "Virtual hardware",
            (
                Column("Type", "type"),
                Column("Machine", "machine"),
                Column("Architecture", "arch"),
                Column("Emulator", "emulator"),
                Column("Features", "features"),
                Column("Controllers", lambda row: [f"{c['type']} {c['model']}" for c in row.get("controllers") or []]),
            ),
        ),
        Section(
            "Use",
            (
                Column("CPU time, s", lambda row: (dig(row, "vcpu_stats.cpu_time") or 0) / 1e9),
                Column("Resident memory", lambda row: size(1024 * (dig(row, "memory_stats.rss") or 0))),
                Column("Memory unused by the guest", lambda row: size(1024 * (dig(row, "memory_stats.unused") or 0))),
            ),
        ),
        Section(
            "Traffic",
            table=Table(
                (
                    Column("MAC", "mac"),
                    Column("Received", amount("rd_bytes"), right=True),
                    Column("Packets", "rd_packets", right=True),
                    Column("Sent", amount("wr_bytes"), right=True),
                    Column("Packets", "wr_packets", right=True),
                    Column("Errors", lambda nic: nic.get("rd_errors", 0) + nic.get("wr_errors", 0), right=True),
                    Column("Drops", lambda nic: nic.get("rd_drops", 0) + nic.get("wr_drops", 0), right=True),
                ),
                empty="No network cards.",
            ),
            rows="networks",
        ),
        Section(
            "Disk input and output",
            table=Table(
                (
                    Column("Device", "dev"),
                    Column("Read", amount("rd_bytes"), right=True),
                    Column("Requests", "rd_req", right=True),
                    Column("Written", amount("wr_bytes"), right=True),
                    Column("Requests", "wr_req", right=True),
                ),
                empty="No disks.",
            ),
            rows="disks",
        ),
    ),
)

VCPUS = Sheet((Column("Name", "name"), Column("vCPUs", "vcpu"), Column("Sockets/cores/threads", "vcpu_topology")))
MEMORY = Sheet((Column("Name", "name"), Column("Memory", mebibytes("memory"))))
