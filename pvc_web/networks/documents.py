"""Networks as the API shows them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from pvc_core.model.network import Network, NetworkType
from pvc_web.api.schema import Document


class Ip4Document(Document):
    """IPv4 of a managed network; empty in a bridged one."""

    network: str = ""
    gateway: str = ""
    dhcp_flag: bool = False
    dhcp_start: str = ""
    dhcp_end: str = ""


class Ip6Document(Document):
    """IPv6 of a managed network; empty in a bridged one."""

    network: str = ""
    gateway: str = ""
    dhcp_flag: bool = False


class NetworkDocument(Document):
    """A network that machines can be attached to."""

    vni: Annotated[int, Meta(description="VLAN id of a bridged network")]
    description: str
    type: NetworkType
    mtu: Annotated[int | None, Meta(description="Null where the interface's own MTU is used")]
    domain: str = ""
    name_servers: tuple[str, ...] = ()
    ip4: Ip4Document = field(default_factory=Ip4Document)
    ip6: Ip6Document = field(default_factory=Ip6Document)


def network_document(network: Network) -> NetworkDocument:
    return NetworkDocument(vni=network.vni, description=network.description, type=network.type, mtu=network.mtu)
