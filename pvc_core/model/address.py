"""IP addresses in the one form in which they are compared."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from pvc_core.errors import BadRequest


def plain(host: str) -> str:
    """An IP address in its shortest form; one that is IPv4 mapped into IPv6, as IPv4. Raises BadRequest."""
    try:
        address = ip_address(host)
    except ValueError:
        raise BadRequest(f"{host!r} is no IP address, which looks like 10.0.0.1 or fd00::1") from None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
