"""What goes through the network interfaces of nodes, by the nodes' own last measurement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pvc_core.model.node import NodeStats
from pvc_web.metrics.gauges import per_cent

BITS_PER_MEGABYTE = 8 / 1_000_000  # by which bytes become megabits


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes and packets a second. ``utilization`` is in per cent of what the links that are up could carry, of the
    busier direction, since they carry as much each way."""

    rx_bytes: float
    tx_bytes: float
    rx_packets: float
    tx_packets: float
    utilization: float


def traffic(nodes: Iterable[NodeStats]) -> Traffic:
    """Of all their interfaces together; the parts of a bond are not counted beside it."""
    links = [link for node in nodes for link in node.interfaces.values() if not link.bond]
    measured = [link for link in links if link.state == "up" and link.speed_mbps]
    busier = max(sum(link.rx_byte_rate for link in measured), sum(link.tx_byte_rate for link in measured))
    return Traffic(
        rx_bytes=sum(link.rx_byte_rate for link in links),
        tx_bytes=sum(link.tx_byte_rate for link in links),
        rx_packets=sum(link.rx_packet_rate for link in links),
        tx_packets=sum(link.tx_packet_rate for link in links),
        utilization=per_cent(busier * BITS_PER_MEGABYTE, sum(link.speed_mbps or 0 for link in measured)),
    )
