"""The other clusters for those who talk to them."""

from __future__ import annotations

from collections.abc import Sequence

from pvc_core.ports import PeerAccess
from pvc_web.database.names import find
from pvc_web.peers.models import Peer


class StoredPeers:
    """See ``pvc_core.ports.PeerDirectory``."""

    def names(self) -> Sequence[str]:
        return tuple(Peer.objects.values_list("name", flat=True))

    def find(self, name: str) -> PeerAccess:
        peer = find(Peer, name)
        return PeerAccess(peer.api_uri, peer.token, peer.verify_ssl, peer.pool, peer.bandwidth)
