"""Other clusters that are within reach of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pvc_core.errors import NotFound
from pvc_core.ports import Peer


class FakePeers:
    """See ``pvc_core.ports.Peers``. ``known`` are the other clusters by name."""

    def __init__(self, known: Mapping[str, Peer] | None = None) -> None:
        self.known = dict(known or {})

    def names(self) -> Sequence[str]:
        return tuple(self.known)

    def connect(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> Peer:
        if name not in self.known:
            raise NotFound(f"there is no peer {name!r}; there are {', '.join(self.known) or 'none'}")
        return self.known[name]
