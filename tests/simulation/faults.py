"""Does the steps of a script to a world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pvc_core.errors import PvcError
from pvc_core.fakes.power import Behaviour
from pvc_core.model.node import DomainState
from pvc_core.model.vm import VmState
from pvc_core.ops.node import NodeFlush, NodeReady
from pvc_core.ops.primary import NodePrimary
from pvc_core.ops.vm_migrate import VmMigrate
from pvc_core.state import records
from tests.simulation.holding import Hold
from tests.simulation.script import Step

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.loop import Process
    from tests.simulation.tasks import Ticket
    from tests.simulation.world import World

NETWORKS = ("cluster", "storage", "bmc")


class Faults:
    """Each kind of step is the method of its name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: tuple[str, ...] = ()  # of the fencer, that are counted
        self._calls_left = 0  # until a fault strikes it
        self._strike: Callable[[Host], None] | None = None
        world.loop.on_call = self._on_call

    def schedule(self, script: Sequence[Step]) -> None:
        for step in script:
            self._world.loop.at(step.at - self._world.loop.time, lambda step=step: self.do(step))  # type: ignore[misc]

    def do(self, step: Step) -> None:
        self._world.note(f"-- {step.do} {step.node} {step.what}".rstrip())
        getattr(self, step.do)(step)
        self._world.connect()

    def crash(self, step: Step) -> None:
        """The node loses its power; ``what`` is ``bmc`` when its BMC loses it too."""
        host = self._host(step)
        host.bmc_powered = step.what != "bmc"
        host.cut_power()
        self._later(step, host.power_on)

    def panic(self, step: Step) -> None:
        host = self._host(step)
        host.cut_power()
        self._world.loop.at(step.seconds, host.power_on)

    def pause(self, step: Step) -> None:
        host = self._host(step)
        host.pause()
        self._later(step, host.resume)

    def freeze(self, step: Step) -> None:
        """The daemon alone stands still, while libvirt and the machines go on."""
        host, daemon = self._host(step), self._host(step).daemon
        if daemon is not None:
            daemon.frozen = True
            self._later(step, lambda: host.thaw(daemon))

    def kill_daemon(self, step: Step) -> None:
        """The daemon alone dies."""
        host = self._host(step)
        host.daemon_held = True
        host.kill_daemon()
        self._later(step, lambda: self._let_daemon(host))

    def cut(self, step: Step) -> None:
        """The node is off a network (``what``: cluster, storage, bmc; several with +)."""
        host, networks = self._host(step), step.what.split("+")
        self._set_links(host, networks, False)
        self._later(step, lambda: self._set_links(host, networks, True))

    def cut_zookeeper(self, step: Step) -> None:
        """The node does not reach ZooKeeper, though nothing else is wrong."""
        host = self._host(step)
        host.zookeeper_cut = True
        self._later(step, lambda: setattr(host, "zookeeper_cut", False))

    def stop_zookeeper(self, step: Step) -> None:
        self._world.zookeeper_down = True
        self._later(step, lambda: setattr(self._world, "zookeeper_down", False))

    def slow_ceph(self, step: Step) -> None:
        """Ceph takes seconds to answer, the node or (without one) all."""
        where = self._world.hosts[step.node] if step.node else self._world.ceph
        name = "ceph_slow" if step.node else "slow"
        setattr(where, name, True)
        self._later(step, lambda: setattr(where, name, False))

    def stop_ceph(self, step: Step) -> None:
        self._world.ceph.down = True
        self._later(step, lambda: setattr(self._world.ceph, "down", False))

    def bmc(self, step: Step) -> None:
        """The node's BMC is as ``what`` says."""
        behaviours = self._world.power.behaviours
        behaviours[step.node] = Behaviour(step.what)
        self._later(step, lambda: behaviours.__setitem__(step.node, Behaviour.OBEYS))

    def strike_fencer(self, step: Step) -> None:
        """The primary is struck in its call number ``number`` for a fence. ``what`` says how (kill, freeze, pause or
        crash), and after a space with what a call has to begin to count, such as ``freeze ceph.readmit``."""
        how, _, prefix = step.what.partition(" ")
        strikes: dict[str, Callable[[Host], None]] = {
            "kill": lambda host: self.kill_daemon(replace(step, node=host.name)),
            "freeze": lambda host: self.freeze(replace(step, node=host.name)),
            "pause": lambda host: self.pause(replace(step, node=host.name)),
            "crash": lambda host: self.crash(replace(step, node=host.name, what="")),
        }
        self._calls = (prefix,) if prefix else ("ceph", "bmc", "store.commit")
        self._calls_left, self._strike = int(step.number), strikes[how]

    def jump(self, step: Step) -> None:
        """The node's wall clock is set, by ``number`` seconds."""
        self._host(step).clock.jump(step.number)

    def drift(self, step: Step) -> None:
        """The node's clock runs faster by ``number`` seconds a second."""
        self._host(step).clock.drift(step.number)

    def lag(self, step: Step) -> None:
        """The node's ZooKeeper server is behind the others by ``number`` seconds."""
        daemon = self._host(step).daemon
        if daemon is not None:
            daemon.store.lag = step.number
            self._later(step, lambda: setattr(daemon.store, "lag", 0.0))

    def lose_answer(self, step: Step) -> None:
        daemon = self._host(step).daemon
        if daemon is not None and daemon.alive:
            daemon.store.lose_answer()

    def maintenance(self, step: Step) -> None:
        self._as_api(lambda: self._world.set_maintenance(True))
        self._later(step, lambda: self._as_api(lambda: self._world.set_maintenance(False)))

    def want(self, step: Step) -> None:
        """An administrator wants a machine (``node`` is its name) to be in state ``what``."""
        uuid = self._uuid(step)
        deadline = self._world.hosts["n1"].clock.now() + 20.0 if step.what == VmState.SHUTDOWN else 0.0
        state = VmState(step.what)
        self._as_api(
            lambda: self._world.change_vm(uuid, lambda vm: replace(vm, state=state, shutdown_deadline=deadline))
        )

    def migrate(self, step: Step) -> None:
        """Move the machine ``node`` to the node ``what``, by the real operation."""
        self._as_api(lambda: self._world.board.send(VmMigrate(self._uuid(step), step.what, force=True)))

    def hold(self, step: Step) -> None:
        """Let the machine ``node`` stand still for ``number`` seconds. ``what`` is ``kill`` when the worker dies in the
        middle of that."""

        def begin() -> None:
            ticket = self._world.board.send(Hold(self._uuid(step), step.number))
            if step.what == "kill":
                self._world.loop.at(step.number / 2, lambda: self._kill_worker(ticket))

        self._as_api(begin)

    def flush(self, step: Step) -> None:
        self._as_api(lambda: self._world.board.send(NodeFlush(step.node)))

    def primary(self, step: Step) -> None:
        self._as_api(lambda: self._world.board.send(NodePrimary(step.node)))

    def crash_machine(self, step: Step) -> None:
        """The QEMU process of the machine ``node`` dies."""
        uuid = self._uuid(step)
        for host in self._world.hosts.values():
            if uuid in host.hypervisor.guests:
                host.hypervisor.crash(uuid)

    def stop_libvirt(self, step: Step) -> None:
        """libvirt does not answer on the node; its machines go on."""
        hypervisor = self._host(step).hypervisor
        hypervisor.unavailable = True
        self._later(step, lambda: setattr(hypervisor, "unavailable", False))

    def slow_libvirt(self, step: Step) -> None:
        hypervisor = self._host(step).hypervisor
        hypervisor.slow = True
        self._later(step, lambda: setattr(hypervisor, "slow", False))

    def stop_daemon(self, step: Step) -> None:
        """The daemon ends in good order."""
        host = self._host(step)
        if host.daemon is not None and host.daemon.alive and host.serves:
            host.daemon_held = True
            host.daemon.stop()
            self._later(step, lambda: self._let_daemon(host))

    def power_on(self, step: Step) -> None:
        self._host(step).power_on()

    def confirm(self, step: Step) -> None:
        """An administrator looks, pulls the plug, and says that the node is off."""
        self._host(step).cut_power()
        self._as_api(lambda: self._world.confirm(step.node))

    def ready(self, step: Step) -> None:
        self._as_api(lambda: self._world.board.send(NodeReady(step.node)))

    def heal(self) -> None:
        """Mend everything, and switch on what is off."""
        world = self._world
        world.note("-- heal")
        self._strike = None
        world.zookeeper_down = world.ceph.down = world.ceph.slow = False
        world.power.behaviours.clear()
        for host in world.hosts.values():
            self._set_links(host, NETWORKS, True)
            host.zookeeper_cut = host.ceph_slow = False
            host.hypervisor.unavailable = host.hypervisor.slow = False
            host.bmc_powered = True
            host.resume()
            if host.daemon is not None:
                host.thaw(host.daemon)
            host.power_on()
            self._let_daemon(host)
        for store in world.servers.stores():
            store.lag = 0.0
        world.connect()
        self._as_api(lambda: world.set_maintenance(False))

    def tend(self) -> None:
        """What an administrator does about the nodes that came back, those that a fence left off, and the machines that
        nobody looks after."""
        now = self._world.rules.now
        for host in self._world.hosts.values():
            host.power_on()
            back = now(records.alive(host.name)) is not None and now(records.fence(host.name)) is None
            if back and now(records.node(host.name)).domain_state is not DomainState.READY:
                operation = NodeReady(host.name, stay=self._world.loop.random.random() < 0.5)
                if not self._world.board.has(operation.task_name):
                    self._as_api(lambda operation=operation: self._world.board.send(operation))
        self._as_api(self._world.tend_machines)

    def _kill_worker(self, ticket: Ticket) -> None:
        worker = ticket.worker
        if worker is not None and worker.alive:
            self._world.note(f"-- {worker.name} dies")
            worker.kill()
            self._world.connect()

    def _uuid(self, step: Step) -> str:
        return next(uuid for uuid, plan in self._world.machines.items() if plan.name == step.node)

    def _host(self, step: Step) -> Host:
        return self._world.hosts[step.node]

    def _later(self, step: Step, undo: Callable[[], object]) -> None:
        if step.seconds:

            def over() -> None:
                self._world.note(f"-- {step.do} {step.node} {step.what} is over")
                undo()
                self._world.connect()

            self._world.loop.at(step.seconds, over)

    def _let_daemon(self, host: Host) -> None:
        host.daemon_held = False
        host.start_daemon()

    def _set_links(self, host: Host, networks: Sequence[str], up: bool) -> None:
        for network in networks:
            setattr(host.links, network, up)

    def _as_api(self, write: Callable[[], object]) -> None:
        """Without a quorum the API can write nothing."""
        if self._world.servers.quorum:
            try:
                write()
            except PvcError as error:
                self._world.note(f"-- refused: {error}")

    def _on_call(self, process: Process, call: str) -> bool:
        if self._strike is None or not self._is_fencing(process, call):
            return False
        self._calls_left -= 1
        if self._calls_left > 0:
            return False
        strike, self._strike = self._strike, None

        def struck() -> None:
            self._world.note(f"-- the fencer {process.host.name} is struck in its call {call}")
            strike(process.host)
            self._world.connect()

        self._world.loop.at(0.0, struck)
        return True

    def _is_fencing(self, process: Process, call: str) -> bool:
        if not call.startswith(self._calls):
            return False
        rules = self._world.rules
        primary = rules.now(records.PRIMARY)
        return primary is not None and primary.node == process.host.name and bool(rules.fences())
