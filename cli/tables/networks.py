"""Networks."""

from __future__ import annotations

from cli.output import Column, Section, Sheet, Table

NETWORKS = Table(
    (
        Column("VNI", "vni", right=True),
        Column("Description", "description"),
        Column("Type", "type"),
        Column("MTU", "mtu", right=True),
        Column("Domain", "domain"),
        Column("IPv4", "ip4.network"),
        Column("IPv6", "ip6.network"),
    ),
    empty="No network matches.",
    key="vni",
)

NETWORK = Sheet(
    (
        Column("VNI", "vni"),
        Column("Description", "description"),
        Column("Type", "type"),
        Column("MTU", "mtu"),
    ),
    more=(
        Section(
            "Managed",
            (
                Column("Domain", "domain"),
                Column("Name servers", "name_servers"),
                Column("IPv4 network", "ip4.network"),
                Column("IPv4 gateway", "ip4.gateway"),
                Column("DHCP", "ip4.dhcp_flag"),
                Column("DHCP from", "ip4.dhcp_start"),
                Column("DHCP to", "ip4.dhcp_end"),
                Column("IPv6 network", "ip6.network"),
                Column("IPv6 gateway", "ip6.gateway"),
            ),
        ),
    ),
)
