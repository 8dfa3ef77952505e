"""The bridges of this node, kept as the cluster's networks want them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from pvc_core.errors import PvcError
from pvc_core.model.network import Network, NetworkType
from pvc_core.ports import Clock, NetworkPlane
from pvc_node.trouble import Trouble

log = logging.getLogger(__name__)

LOOK_AGAIN = 30.0  # seconds after which bridges are checked though no network has changed
RETRY = 2.0
_BRIDGE = re.compile(r"vmbr(\d+)")


class Bridges:
    def __init__(self, network: NetworkPlane, clock: Clock) -> None:
        self._network = network
        self._clock = clock
        self._applied: Mapping[int, Network] | None = None
        self._due = 0.0
        self._trouble = Trouble("bridges")

    @property
    def trouble(self) -> str:
        return self._trouble.message

    def apply(self, networks: Mapping[int, Network]) -> None:
        """Make, correct and remove bridges where something has changed, or where it is time to look again."""
        now = self._clock.monotonic()
        if now < self._due and (self._trouble.message or networks == self._applied):
            return
        errors = self._synchronise({vni: net for vni, net in networks.items() if net.type is NetworkType.BRIDGED})
        if errors:
            self._trouble.begin("; ".join(errors))
        else:
            self._trouble.end()
            self._applied = networks
        self._due = now + (RETRY if errors else LOOK_AGAIN)

    def _synchronise(self, wanted: Mapping[int, Network]) -> list[str]:
        """Do all that can be done; answers what could not."""
        try:
            present = {int(match[1]) for name in self._network.bridges() if (match := _BRIDGE.fullmatch(name))}
        except PvcError as error:
            return [str(error)]
        errors = []
        for vni in sorted(wanted.keys() | present):
            try:
                self._correct(vni, wanted.get(vni), is_present=vni in present)
            except PvcError as error:
                errors.append(f"network {vni}: {error}")
        return errors

    def _correct(self, vni: int, network: Network | None, *, is_present: bool) -> None:
        if network is None:
            self._network.remove_bridged(vni)
            log.info("network %d: vmbr%d => no bridge: the cluster has no such bridged network", vni, vni)
            return
        self._network.ensure_bridged(vni, network.mtu)
        if not is_present:
            log.info("network %d: no bridge => %s: the cluster has this network", vni, network.bridge)
