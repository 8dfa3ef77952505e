"""The commands with which this node starts and stops its OSDs, and speaks of them to Ceph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pvc_core.config import CephConfig, OsdConfig
from pvc_core.drivers.command import run


class OsdDaemon:
    def __init__(self, config: OsdConfig) -> None:
        self._config = config

    def start(self, osd: int) -> None:
        """Start it, now and whenever this node boots."""
        run(_filled(self._config.start, osd))

    def stop(self, osd: int) -> None:
        """Stop it for good; nothing when it does not run."""
        run(_filled(self._config.stop, osd))


def ceph_command(config: CephConfig) -> tuple[str, ...]:
    """What a command to Ceph's monitors begins with."""
    keyring = ("--keyring", config.keyring) if Path(config.keyring).exists() else ()
    return ("ceph", "--conf", config.config_file, "--id", config.user, *keyring)


def _filled(command: Sequence[str], osd: int) -> list[str]:
    return [word.replace("{id}", str(osd)) for word in command]
