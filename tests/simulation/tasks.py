"""Tasks: real operations, on workers that live and die with their hosts, as pvc_tasks has them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pvc_core.errors import ClaimLost, PvcError
from pvc_core.fakes.benchmark import FakeBench, FakeResults
from pvc_core.fakes.commands import FakeCommands
from pvc_core.fakes.osds import FakeOsdMap, FakeOsds
from pvc_core.fakes.peers import FakePeers
from pvc_core.fakes.schedules import FakeReports, FakeSchedules
from pvc_core.fakes.targets import FakeTargets
from pvc_core.ops.base import Operation, Run, Tools, build, perform
from pvc_core.state.cluster import ClusterState
from tests.simulation.loop import Process
from tests.simulation.ports import SimBlocks
from tests.simulation.view import SimView

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.world import World

MAX_ATTEMPTS = 3
SILENT = 12.0  # seconds after which a task is taken from a worker that is not heard of
UNREACHABLE = 60.0  # seconds that a task waits for its node
SWEEP = 3.0


@dataclass(eq=False)
class Ticket:
    """A task's record. ``error`` says why it failed."""

    operation: Operation
    id: str
    node: str
    since: float
    attempt: int = 0
    worker: Worker | None = None
    ended: bool = False
    error: str = ""
    cancelled: bool = False
    heard: float = 0.0


class Worker(Process):
    """Runs one task once."""

    def __init__(self, host: Host, ticket: Ticket, board: Board) -> None:
        super().__init__(host, f"{host.name} {ticket.operation.task_name} {ticket.attempt}")
        self._ticket = ticket
        self._board = board
        self.store = host.world.servers.open(self)
        host.workers.append(self)
        host.world.connect()
        host.world.loop.spawn(self, self._run)

    def _run(self) -> None:
        host, ticket = self.host, self._ticket
        try:
            view = SimView(host.world.loop, self.store, with_all=True)
            view.start()
            tools = Tools(
                config=host.config,
                state=ClusterState(self.store),
                view=view,
                clock=host.clock,
                blocks=SimBlocks(host),  # type: ignore[arg-type]
                hypervisor=host.hypervisor,
                network=host.network,
                osds=FakeOsds(),
                osd_map=FakeOsdMap(),
                bench=FakeBench(),
                benchmarks=FakeResults(),
                peers=FakePeers(),
                targets=FakeTargets(),
                schedules=FakeSchedules(),
                reports=FakeReports(),
                commands=FakeCommands(),
            )
            operation = build(ticket.operation.task_name, ticket.operation.arguments())
            perform(operation, Run(tools, ticket.id, self, attempt=ticket.attempt))
            self._end("")
        except ClaimLost:
            host.world.note(f"{self.name} lost its task")
        except PvcError as error:
            self._end(str(error))
        self.alive = False
        host.workers.remove(self)
        self.store.close()

    def _end(self, error: str) -> None:
        if self.claimed():
            self._ticket.ended, self._ticket.error = True, error
            self.host.world.note(f"{self.name}: {error or 'succeeded'}")

    # The progress of the run.

    def report(self, current: int, total: int, message: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return self._ticket.cancelled

    def claimed(self) -> bool:
        return self._ticket.worker is self

    def wait_children(
        self, children: list[Operation], timeout: float, at_once: int, ended: Callable[[int], object]
    ) -> list[tuple[Operation, str]]:
        waiting, sent = list(children), []
        deadline = self.host.world.loop.time + timeout
        while waiting or not all(ticket.ended for ticket in sent):
            while waiting and sum(not ticket.ended for ticket in sent) < at_once:
                sent.append(self._board.send(waiting.pop(0)))
            if self.host.world.loop.time >= deadline:
                break
            self.host.world.loop.sleep(0.5)
        return [(ticket.operation, ticket.error) for ticket in sent if ticket.error]


@dataclass
class Board:
    """What PostgreSQL knows of tasks, and who looks after those whose workers died."""

    world: World
    tickets: list[Ticket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def send(self, operation: Operation) -> Ticket:
        snapshot = self.world.picture()
        node = operation.worker_node(snapshot) or self._any_coordinator()
        number = next(self._numbers)
        ticket = Ticket(operation, f"11111111-0000-0000-0000-{number:012}", node, self.world.loop.time)
        if not self.tickets:
            self.world.loop.at(SWEEP, self._sweep)
        self.tickets.append(ticket)
        self.world.note(f"-- task {operation.task_name} {operation.subject(snapshot)} on {node}")
        self._begin(ticket)
        return ticket

    def has(self, task_name: str) -> bool:
        """Whether such a task has not ended yet."""
        return any(ticket.operation.task_name == task_name and not ticket.ended for ticket in self.tickets)

    def _begin(self, ticket: Ticket) -> None:
        host = self.world.hosts[ticket.node]
        if host.serves and host.links.cluster:
            ticket.attempt += 1
            ticket.heard = self.world.loop.time
            ticket.worker = Worker(host, ticket, self)
        elif self.world.loop.time - ticket.since > UNREACHABLE:
            ticket.ended, ticket.error = True, f"node {ticket.node} is not running, so nobody can do this"

    def _sweep(self) -> None:
        now = self.world.loop.time
        self.tickets = [ticket for ticket in self.tickets if not ticket.ended]
        for ticket in self.tickets:
            worker = ticket.worker
            if worker is None:
                self._begin(ticket)
            elif worker.alive and worker.host.serves and worker.host.links.cluster:
                ticket.heard = now
            elif now - ticket.heard > SILENT:
                self._take_from_dead(ticket)
        if self.tickets:
            self.world.loop.at(SWEEP, self._sweep)

    def _take_from_dead(self, ticket: Ticket) -> None:
        ticket.worker = None
        ticket.since = self.world.loop.time
        if not ticket.operation.resumable or ticket.attempt >= MAX_ATTEMPTS:
            ticket.ended, ticket.error = True, "its worker does not answer"

    def _any_coordinator(self) -> str:
        serving = [host.name for host in self.world.coordinators if host.serves and host.links.cluster]
        return self.world.loop.random.choice(serving or [host.name for host in self.world.coordinators])
