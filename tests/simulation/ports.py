"""The other doors of one host: the fakes, with time passing in each call, and with what can be in the way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING

from pvc_core.errors import DriverError, DriverUnavailable
from pvc_core.fakes.blocks import FakeBlocks, FakeImage
from pvc_core.fakes.network import FakeNetwork
from pvc_core.model.node import Addresses, Bmc
from pvc_core.ports import Locker, PowerState
from tests.simulation.hypervisor import Qemu

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World

FLOATING = Addresses("10.0.0.254/24", "10.0.1.254/24", "10.0.2.254/24")
EPOCH = 1_700_000_000.0


class HostClock:
    """A host's clock: it drifts, and its wall clock may be set."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._rate = 0.0
        self._gained = 0.0  # seconds, by drifting until ``_since``
        self._since = 0.0
        self._set = EPOCH

    def now(self) -> float:
        return self._set + self.monotonic()

    def monotonic(self) -> float:
        time = self._time()
        return time + self._gained + (time - self._since) * self._rate

    def jump(self, seconds: float) -> None:
        self._set += seconds

    def drift(self, rate: float) -> None:
        """Run faster by ``rate`` seconds a second from now on; slower when it is negative."""
        time = self._time()
        self._gained += (time - self._since) * self._rate
        self._rate, self._since = rate, time


class Ceph:
    """The storage cluster. Its monitors are on the coordinators."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.blocks = FakeBlocks()
        self.blocks.create_pool("vms", 32, 3, 2, "default")
        self.clients_out: set[str] = set()
        self.down = False
        self.slow = False
        self._clients = 0

    def answers(self, host: Host) -> bool:
        monitors = [other for other in self.world.coordinators if other.serves and other.links.storage]
        return not self.down and host.links.storage and 2 * len(monitors) > len(self.world.coordinators)

    def is_out(self, host: Host) -> bool:
        return host.storage_address in self.blocks.shut_out_hosts()

    def shut_out(self, address: str) -> None:
        self.blocks.shut_out([address])
        for qemu in self.world.qemus():
            qemu.broken = qemu.broken or qemu.shut_out

    def open(self, uuid: str, host: Host, volumes: tuple[str, ...], only_rbd: bool) -> Qemu:
        self._clients += 1
        return Qemu(uuid, host, f"client.{self._clients}", volumes, only_rbd)

    def lock(self, qemu: Qemu) -> None:
        """Who begins to write shuts an owner out that ended without giving its lock back, as librbd does when it
        hears nothing of it."""
        alive = {other.client for other in self.world.qemus()}
        for image in self._images(qemu):
            self.clients_out |= {locker.client for locker in image.lockers} - alive
            image.lockers[:] = [locker for locker in image.lockers if locker.client in alive]
            image.lockers.append(Locker(qemu.client, qemu.host.storage_address))

    def unlock(self, qemu: Qemu) -> None:
        for image in self._images(qemu):
            image.lockers[:] = [locker for locker in image.lockers if locker.client != qemu.client]

    def _images(self, qemu: Qemu) -> list[FakeImage]:
        return [self.blocks.image(*volume.split("/")) for volume in qemu.volumes]


class SimBlocks:
    """Ceph as one host reaches it (pvc_core.ports.BlockStore, as far as node daemons use it)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._ceph = host.world.ceph

    def break_locks(self, pool: str, name: str, hosts: Collection[str] | None = None) -> int:
        self._ask("break_locks", of_osds=True)
        lockers = self._ceph.blocks.lockers(pool, name)
        self._ceph.clients_out |= {locker.client for locker in lockers if hosts is None or locker.host in hosts}
        count = self._ceph.blocks.break_locks(pool, name, hosts)
        self._answer("break_locks")
        return count

    def lockers(self, pool: str, name: str) -> list[Locker]:
        self._ask("lockers", of_osds=True)
        return self._ceph.blocks.lockers(pool, name)

    def shut_out(self, hosts: Collection[str]) -> None:
        self._host.world.rules.struck(self._host, f"{', '.join(hosts)} is shut out")
        for host in hosts:  # one by one, so that a fencer may die between two
            self._ask("shut_out")
            self._ceph.shut_out(host)
            self._host.world.note(f"{self._host.name}: Ceph shuts {host} out")
        self._answer("shut_out")

    def readmit(self, hosts: Collection[str]) -> None:
        for host in hosts:
            self._ask("readmit")
            self._ceph.blocks.readmit([host])
            self._host.world.note(f"{self._host.name}: Ceph lets {host} in again")
        self._answer("readmit")

    def drop_silent_osds(self, hosts: Collection[str]) -> list[int]:
        self._ask("drop_silent_osds")
        return []

    def shut_out_hosts(self) -> set[str]:
        self._ask("shut_out_hosts")
        return self._ceph.blocks.shut_out_hosts()

    def close(self) -> None:
        pass

    def _ask(self, what: str, *, of_osds: bool = False) -> None:
        """Monitors take the commands of clients that OSDs refuse."""
        slow = self._ceph.slow or self._host.ceph_slow
        self._host.world.loop.call(f"ceph.{what}", *((1.0, 12.0) if slow else (0.02, 0.6)))
        if not self._ceph.answers(self._host):
            self._host.world.loop.sleep(5.0)
            raise DriverUnavailable("Ceph does not answer")
        if of_osds and self._ceph.is_out(self._host):
            raise DriverError("Ceph has this host on its blocklist")

    def _answer(self, what: str) -> None:
        self._host.world.loop.call(f"ceph.{what} answered", 0.01, 0.3)


class SimNetwork(FakeNetwork):
    """The addresses of a host. The kernel takes floating ones away when their time is over, whoever hangs."""

    def __init__(self, host: Host) -> None:
        super().__init__(astuple(host.addresses), host.clock)
        self._host = host

    def hold(self, address: str, beside: str, seconds: int) -> None:
        self._host.world.loop.call("network.hold", 0.001, 0.1, at_once=0.8)
        super().hold(address, beside, seconds)
        self._host.world.rules.address_taken(address)


class SimPower:
    """The BMCs as one host reaches them (pvc_core.ports.Power)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = host.world.loop
        self._power = host.world.power

    def state(self, node: str, bmc: Bmc) -> PowerState:
        self._ask("state", node)
        return self._power.state(node, bmc)

    def off(self, node: str, bmc: Bmc) -> None:
        self._host.world.rules.struck(self._host, f"{node} is switched off")
        self._ask("off", node)
        self._power.state(node, bmc)  # it answers
        self._loop.at(self._loop.random.choice((0.0, 0.0, 1.0)), lambda: self._switch(self._power.off, node, bmc))
        self._loop.call("bmc.off answered", 0.05, 1.0)

    def on(self, node: str, bmc: Bmc) -> None:
        self._ask("on", node)
        self._loop.at(0.0, lambda: self._switch(self._power.on, node, bmc))
        self._loop.call("bmc.on answered", 0.05, 1.0)

    def _switch(self, switch: Callable[[str, Bmc], None], node: str, bmc: Bmc) -> None:
        """What a BMC has taken happens though who asked for it is gone."""
        with suppress(DriverUnavailable):
            switch(node, bmc)

    def _ask(self, what: str, node: str) -> None:
        target = self._host.world.hosts[node]
        self._loop.call(f"bmc.{what}", 0.05, 1.0)
        if not (target.bmc_powered and target.links.bmc and self._host.links.bmc):
            self._loop.sleep(4.0)
            raise DriverUnavailable(f"the BMC of {node} does not answer")
