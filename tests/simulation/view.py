"""The picture of the cluster under virtual time."""

from __future__ import annotations

from collections.abc import Callable

from pvc_core.ports import Raw
from pvc_core.state.view import ClusterView
from tests.simulation.loop import Loop, Thread
from tests.simulation.store import SimStore


class SimView(ClusterView):
    """Tells its process' threads of news, and waits in virtual time. ``with_all``: also statistics and XML."""

    def __init__(self, loop: Loop, store: SimStore, *, with_all: bool = False) -> None:
        super().__init__(store, with_xml=with_all, with_stats=with_all)
        self._loop = loop
        self.threads: list[Thread] = []

    def wake(self) -> None:
        super().wake()
        self._tell()

    def wait(self, predicate: Callable[..., bool], timeout: float) -> bool:
        deadline = self._loop.time + timeout
        while not predicate(self.snapshot()):
            if self._loop.time >= deadline:
                return False
            self._loop.sleep(min(0.5, max(0.001, deadline - self._loop.time)))
        return True

    def _on_change(self, path: str, raw: Raw | None) -> None:
        super()._on_change(path, raw)
        self._tell()

    def _tell(self) -> None:
        for thread in self.threads:
            thread.wake()
