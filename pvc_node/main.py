"""Composition root: reads the configuration, chooses the drivers and runs the daemon."""

from __future__ import annotations

import faulthandler
import logging
import signal
import sys
import threading
from pathlib import Path

from pvc_core import config as configuration
from pvc_core.config import Config
from pvc_core.drivers.clock import SystemClock
from pvc_core.drivers.libvirt import LibvirtHypervisor
from pvc_core.drivers.network import LinuxNetwork
from pvc_core.drivers.power import BmcPower
from pvc_core.drivers.watchdog import KernelWatchdog
from pvc_core.drivers.zookeeper import ZookeeperStore
from pvc_core.errors import PvcError, Unavailable
from pvc_core.ports import BlockStore
from pvc_node import identity, nodelog
from pvc_node.daemon import Daemon
from pvc_node.parts import Outside

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0  # seconds for one try; a signal to end is heeded between two


def main() -> int:
    """Run until SIGTERM or SIGINT; the exit status: 0 after an orderly end, 1 when it could not start or broke."""
    faulthandler.enable()  # the drivers call into C libraries, which can break the whole process
    try:
        return _run(configuration.load())
    except PvcError as error:
        print(f"pvc-node: {error}", file=sys.stderr)  # noqa: T201 - logging may not be there yet
        return 1


def _run(config: Config) -> int:
    state_directory = Path(config.daemon.state_directory)
    held = identity.lock(state_directory)
    ring = nodelog.set_up(Path(config.daemon.log_directory), config.daemon.node_log_lines)
    Path(config.daemon.console_directory).mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    store = _connect(config, stopping)
    if store is None:
        return 0
    me = identity.begin(state_directory, Path(config.node.boot_id_file))
    log.info("daemon: stop => init: node %s, boot %s, start number %d", config.node.name, me.boot_id, me.incarnation)
    outside = Outside(
        store,
        LibvirtHypervisor(config),
        LinuxNetwork(config.network),
        SystemClock(),
        BmcPower(config.fencing.bmc_password_file),
        lambda: _blocks(config),
        lambda seconds: KernelWatchdog(Path(config.fencing.watchdog_device), seconds),
    )
    with held:
        return 0 if Daemon(config, me, outside, ring, stopping).run() else 1


def _connect(config: Config, stopping: threading.Event) -> ZookeeperStore | None:
    """The store, once ZooKeeper answers: a node may well be up before a quorum is. None when asked to stop before."""
    while not stopping.is_set():
        try:
            return ZookeeperStore(config.zookeeper, CONNECT_TIMEOUT)
        except Unavailable as error:
            log.warning("%s; trying again", error)
    return None


def _blocks(config: Config) -> BlockStore:
    from pvc_core.drivers.ceph import CephBlockStore  # with its libraries, which only the primary needs

    return CephBlockStore(config.ceph)
