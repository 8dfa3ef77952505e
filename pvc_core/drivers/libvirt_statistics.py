"""libvirt's flat table of statistics (``block.0.rd.bytes``) in the shape the cluster keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libvirt

from pvc_core.model.node import DiskStats, DomainStats, NicStats

WANTED = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
# Names of the table that virDomainMemoryStats spells otherwise; it has the rest too, but for the maximum.
MEMORY_NAMES = {"current": "actual", "last-update": "last_update"}

Table = Mapping[str, Any]


def link_names(table: Table) -> list[str]:
    """Names of the links on the host's side, such as ``vnet3``."""
    return [str(table.get(f"net.{number}.name", "")) for number in range(table.get("net.count", 0))]


def domain_stats(table: Table, addresses: Mapping[str, str]) -> DomainStats:
    """``addresses`` has the MAC address by the name of the link."""
    return DomainStats(
        cpu_time=table.get("cpu.time", 0),
        user_time=table.get("cpu.user", 0),
        system_time=table.get("cpu.system", 0),
        memory=_memory(table),
        disks={table[f"block.{n}.name"]: _disk(table, f"block.{n}") for n in range(table.get("block.count", 0))},
        networks={
            addresses[name]: _nic(table, f"net.{number}")
            for number, name in enumerate(link_names(table))
            if name in addresses
        },
    )


def _memory(table: Table) -> dict[str, int]:
    prefix = "balloon."
    values = {key.removeprefix(prefix): value for key, value in table.items() if key.startswith(prefix)}
    return {MEMORY_NAMES.get(name, name): value for name, value in values.items() if name != "maximum"}


def _disk(table: Table, prefix: str) -> DiskStats:
    return DiskStats(
        rd_req=table.get(f"{prefix}.rd.reqs", 0),
        rd_bytes=table.get(f"{prefix}.rd.bytes", 0),
        wr_req=table.get(f"{prefix}.wr.reqs", 0),
        wr_bytes=table.get(f"{prefix}.wr.bytes", 0),
    )


def _nic(table: Table, prefix: str) -> NicStats:
    return NicStats(
        rd_bytes=table.get(f"{prefix}.rx.bytes", 0),
        rd_packets=table.get(f"{prefix}.rx.pkts", 0),
        rd_errors=table.get(f"{prefix}.rx.errs", 0),
        rd_drops=table.get(f"{prefix}.rx.drop", 0),
        wr_bytes=table.get(f"{prefix}.tx.bytes", 0),
        wr_packets=table.get(f"{prefix}.tx.pkts", 0),
        wr_errors=table.get(f"{prefix}.tx.errs", 0),
        wr_drops=table.get(f"{prefix}.tx.drop", 0),
    )
