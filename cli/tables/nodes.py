"""Nodes."""

from __future__ import annotations

from cli.output import Column, Section, Sheet, Table
from cli.tables.cells import by_health, by_state, if_any, mebibytes, percent

NODES = Table(
    (
        Column("Name", "name"),
        Column("Health", percent("health"), right=True, paint=by_health),
        Column("Daemon", "daemon_state", paint=by_state),
        Column("Coordinator", "coordinator_state", paint=by_state),
        Column("Domains", "domain_state", paint=by_state),
        Column("VMs", "domains_count", right=True),
        Column("CPUs", "vcpu.total", right=True),
        Column("vCPUs", "vcpu.allocated", right=True),
        Column("Load", "load", right=True),
        Column("MiB", "memory.total", right=True),
        Column("Used", "memory.used", right=True),
        Column("Free", "memory.free", right=True),
        Column("Allocated", "memory.allocated", right=True),
        Column("Version", "pvc_version"),
    ),
    empty="No node matches.",
)


NODE = Sheet(
    (
        Column("Name", "name"),
        Column("Health", percent("health"), paint=by_health),
        Column("Daemon state", "daemon_state", paint=by_state),
        Column("Coordinator state", "coordinator_state", paint=by_state),
        Column("Domain state", "domain_state", paint=by_state),
        Column("Fence", "fence", paint=if_any),
        Column("Version", "pvc_version"),
        Column("Machines", "domains_count"),
        Column("CPUs", "vcpu.total"),
        Column("vCPUs allocated", "vcpu.allocated"),
        Column("Load", "load"),
        Column("Memory", mebibytes("memory.total")),
        Column("Memory used", mebibytes("memory.used")),
        Column("Memory free", mebibytes("memory.free")),
        Column("Memory allocated", mebibytes("memory.allocated")),
        Column("Memory provisioned", mebibytes("memory.provisioned")),
    ),
    more=(
        Section(
            "System",
            (
                Column("Operating system", "os"),
                Column("Kernel", "kernel"),
                Column("Architecture", "arch"),
                Column("Interfaces", lambda row: list(row.get("interfaces") or {})),
                Column("Running machines", "running_domains"),
            ),
        ),
        Section(
            "Health checks",
            table=Table(
                (
                    Column("Check", "name"),
                    Column("Takes", percent("health_delta"), right=True),
                    Column("Says", "message"),
                ),
                empty="No health check has run.",
            ),
            rows="health_details",
        ),
    ),
)
