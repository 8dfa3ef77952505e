"""Whether the nodes' BMCs would answer if they were needed: asked while all is well, when it can still be mended."""

from __future__ import annotations

from collections.abc import Mapping

from pvc_core.errors import PvcError
from pvc_core.ports import Power
from pvc_core.state.view import ClusterView
from pvc_node.leadership import Leadership


class Bmcs:
    """``mute`` has what was wrong with each BMC when it was last asked. Asks on the primary only, on a thread of its
    own: a BMC that does not answer takes ten seconds to say so."""

    def __init__(self, node: str, view: ClusterView, leadership: Leadership, power: Power) -> None:
        self._node = node
        self._view = view
        self._leadership = leadership
        self._power = power
        self.mute: Mapping[str, str] = {}

    def ask(self) -> None:
        """Ask the BMC of each other node that is alive; what is known of the others stays."""
        snapshot = self._view.snapshot()
        if not self._leadership.is_primary(snapshot):
            self.mute = {}
            return
        mute = {name: reason for name, reason in self.mute.items() if name in snapshot.nodes}
        for name, entry in snapshot.nodes.items():
            if entry.node.bmc is None or name == self._node:
                mute.pop(name, None)
            elif entry.runs:
                try:
                    self._power.state(name, entry.node.bmc)
                    mute.pop(name, None)
                except PvcError as error:
                    mute[name] = str(error)
        self.mute = mute
