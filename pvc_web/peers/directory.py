"""The other clusters for those who talk to them."""

from __future__ import annotations

from collections.abc import Sequence

from pvc_core.errors import NotFound
from pvc_core.ports import PeerAccess
from pvc_web.peers.models import Peer


class StoredPeers:
    """See ``pvc_core.ports.PeerDirectory``."""

    def names(self) -> Sequence[str]:
        return tuple(Peer.objects.values_list("name", flat=True))

    def find(self, name: str) -> PeerAccess:
        peer = Peer.objects.filter(name=name).first()
        if peer is None:
            raise NotFound(f"there is no peer {name!r}; there are {', '.join(self.names()) or 'none'}")
        return PeerAccess(peer.api_uri, peer.token, peer.verify_ssl, peer.pool, peer.bandwidth)
