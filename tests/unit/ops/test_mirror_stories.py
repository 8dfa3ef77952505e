"""Two sites with a mirrored machine through seeded stories of cuts, losses, promotions and returns.

After each step: no side runs the machine that knows of the other's later epoch or that does not lead, and every block
that a guest has written is still somewhere."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pvc_core.errors import PvcError
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole
from pvc_core.model.vm import VmState
from pvc_core.ops import shipping
from pvc_core.ops.base import Operation
from pvc_core.ops.vm_mirror import VmMirrorCreate, VmMirrorPromote, VmMirrorTakeBack
from pvc_core.ops.vm_mirror_second import VmMirrorForce, VmMirrorResync
from pvc_core.ops.vm_power import VmShutdown, VmStart
from pvc_core.rules.lineage import supersedes
from pvc_core.state import records
from pvc_core.state.mirrors import heed, note_call
from tests.unit.ops.house import NODES, House
from tests.unit.ops.pair import Pair
from tests.unit.ops.test_mirror import Moment

BLOCK = 4096
BLOCKS = 256
STEPS = 24
CALLS = ("begin", "send", "commit", "snapshots", "hear", "take_over")


class Site:
    def __init__(self, name: str, house: House, other: str) -> None:
        self.name, self.house, self.other = name, house, other
        self.up = True
        self.boots = 1
        self.asked = True  # it has had an answer since it was last away, or a person decided without

    def lose(self) -> None:
        """Everything here loses its power."""
        self.up = self.asked = False
        for name in NODES:
            self.house.lab.nodes.pop(name).store.close()
            self.house.hypervisor(name).guests.clear()

    def come_back(self) -> None:
        self.boots += 1
        for name in NODES:
            self.house.lab.start_node(name, boot=f"boot{self.boots}")
        self.up = True


class Story:
    def __init__(self, directory: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.pair = Pair(directory)
        self.east = Site("east", self.pair.east, "west")
        self.west = Site("west", self.pair.west, "east")
        self.sites = {"east": self.east, "west": self.west}
        self.linked = True
        self.told = [f"seed {seed}"]
        self.written: set[int] = set()
        self.pair.west.lab.clock.advance(3600)
        self.vm = self.pair.east.define(1)
        self.pair.east.blocks.resize("vms", "disk1", BLOCKS * BLOCK)
        self.pair.east.run(VmStart(self.vm))
        self.watch()
        self.create(self.east)

    def act(self) -> None:
        led = [self.write, self.write, self.create, self.create, self.promote, self.promote, self.start, self.shut_down]
        any_side = [self.cut, self.heal, self.heal, self.lose, self.force, self.resync, self.resync, self.take_back]
        chosen = self.random.choice(led + any_side)
        site = self.random.choice(list(self.sites.values()))
        if not site.up and self.random.random() < 0.5:
            chosen = self.come_back
        elif chosen in led and self.random.random() < 0.8:
            site = next((one for one in self.sites.values() if one.up and self.leads(one)), site)
        self.told.append(f"{chosen.__name__} {site.name}")
        chosen(site)
        self.pass_time(self.random.choice([20, 20, 200]))

    def write(self, site: Site) -> None:
        for one in self.sites.values():
            if self.runs(one):
                block = len(self.written)
                with one.house.blocks.open("vms", "disk1", writable=True) as image:
                    image.write(block * BLOCK, block.to_bytes(2, "big") * (BLOCK // 2 - 1) + b"\xff\xff")
                self.written.add(block)

    def create(self, site: Site) -> None:
        self.interrupt(site, 0.3)
        self.do(site, VmMirrorCreate(self.vm, site.other))

    def promote(self, site: Site) -> None:
        self.interrupt(site, 0.6)
        self.do(site, VmMirrorPromote(self.vm, site.other))

    def force(self, site: Site) -> None:
        self.do(site, VmMirrorForce(self.vm))
        site.asked = site.asked or self.runs(site)

    def resync(self, site: Site) -> None:
        self.do(site, VmMirrorResync(self.vm))

    def take_back(self, site: Site) -> None:
        self.do(site, VmMirrorTakeBack(self.vm))

    def start(self, site: Site) -> None:
        self.do(site, VmStart(self.vm))

    def shut_down(self, site: Site) -> None:
        self.do(site, VmShutdown(self.vm))

    def cut(self, site: Site) -> None:
        self.linked = False

    def heal(self, site: Site) -> None:
        self.linked = True

    def lose(self, site: Site) -> None:
        if site.up:
            site.lose()

    def come_back(self, site: Site) -> None:
        if not site.up:
            site.come_back()

    def interrupt(self, site: Site, chance: float) -> None:
        """The next calls of this site may break off: at one of them, or from one of them on."""
        peer = self.peer(site)
        peer.lost = peer.unanswered = ()
        if self.random.random() < chance:
            setattr(peer, self.random.choice(["lost", "unanswered"]), (self.random.choice(CALLS),))
            peer.after = self.random.random() < 0.5

    def peer(self, site: Site) -> Moment:
        known = site.house.peers.known[site.other]
        if not isinstance(known, Moment):
            there = self.sites[site.other].house
            known = site.house.peers.known[site.other] = Moment(there, f"fsid-{site.name}")
        known.away = not (self.linked and self.sites[site.other].up and site.up)
        return known

    def do(self, site: Site, operation: Operation) -> None:
        peer = self.peer(site)
        if site.up:
            try:
                site.house.run(operation)
            except PvcError as error:
                self.told[-1] += f" ({error})"
        peer.lost = peer.unanswered = ()
        self.peer(site)

    def pass_time(self, seconds: int) -> None:
        for _ in range(0, seconds, 20):
            self.watch()
            for site in self.sites.values():
                if site.up:
                    site.house.lab.advance(20)
                else:
                    site.house.lab.clock.advance(20)
        self.watch()
        for site in self.sites.values():
            if site.up:
                site.house.lab.advance(40)  # longer than a shutdown may take
            else:
                site.house.lab.clock.advance(60)  # longer than a site may be away without asking
        self.watch()

    def watch(self) -> None:
        for site in self.sites.values():
            if site.up:
                self.look(site)

    def look(self, site: Site) -> None:
        house, peer = site.house, self.peer(site)
        now, timing = house.lab.clock.now(), house.config("n1").timing
        word = None if peer.away else peer.hear()
        watch = note_call(house.state, site.other, now, now, word, timing)
        house.lab.cycle(1)
        if word is not None:
            site.asked = True
            heed(house.state, house.view.snapshot(), watch, now, timing)

    def runs(self, site: Site) -> bool:
        return bool(site.house.runs_on(self.vm))

    def mirror(self, site: Site) -> Mirror | None:
        entry = site.house.state.find(records.mirror(self.vm))
        return entry.value if entry is not None else None

    def heard(self, site: Site) -> Lineage | None:
        entry = site.house.state.find(records.peer(site.other))
        theirs = entry.value.mirrors.get(self.vm) if entry is not None else None
        return theirs.lineage if theirs is not None else None

    def check(self) -> None:
        for site in self.sites.values():
            mirror, heard = self.mirror(site), self.heard(site)
            if mirror is not None and self.runs(site):
                assert site.asked, f"{site.name} was away, and started it without an answer"
                assert mirror.role is MirrorRole.PRIMARY, f"{site.name} runs it as {mirror.role}"
                assert heard is None or not supersedes(heard, mirror.lineage), f"{site.name} knows it is superseded"
        assert self.written <= self.found(), f"lost: {self.written - self.found()}"

    def found(self) -> set[int]:
        """The blocks that are at any of the sites, in a head or a snapshot."""
        found = set()
        for site in self.sites.values():
            blocks = site.house.blocks
            if "disk1" not in blocks.volumes("vms"):
                continue
            for snapshot in ("", *(one.name for one in blocks.inspect("vms", "disk1").snapshots)):
                with blocks.open("vms", "disk1", snapshot=snapshot) as image:
                    data = image.read(0, image.size)
                found |= {block for block in range(len(self.written)) if data[(block + 1) * BLOCK - 1] == 0xFF}
        return found

    def end_well(self) -> None:
        """With both sites up and linked, a person settles what is left, and the mirror works again."""
        self.linked = True
        for site in self.sites.values():
            self.come_back(site)
        self.pass_time(100)
        self.settle_forks()
        for site in self.sites.values():
            mirror = self.mirror(site)
            if mirror is not None and mirror.role is MirrorRole.HANDING:
                self.do(site, VmMirrorPromote(self.vm, site.other))
                self.pass_time(20)
        for site in self.sites.values():
            mirror = self.mirror(site)
            if mirror is not None and mirror.role is MirrorRole.SUPERSEDED:
                site.house.run(VmMirrorResync(self.vm))
                self.pass_time(20)
        leaders = [site for site in self.sites.values() if self.leads(site)]
        assert [site.name for site in leaders] in (["east"], ["west"])
        leader = leaders[0]
        leader.house.run(VmStart(self.vm))
        leader.house.run(VmMirrorCreate(self.vm, leader.other))
        leader.house.lab.clock.advance(60)
        leader.house.run(VmMirrorPromote(self.vm, leader.other))
        self.pass_time(20)
        assert not self.runs(leader)
        assert self.runs(self.sites[leader.other])
        self.check()

    def leads(self, site: Site) -> bool:
        mirror, entry = self.mirror(site), site.house.state.find(records.vm(self.vm))
        return entry is not None and (
            mirror.role is MirrorRole.PRIMARY if mirror is not None else entry.value.state is not VmState.MIRROR
        )

    def settle_forks(self) -> None:
        """Where both lead, the second site gives way."""
        if self.leads(self.east) and self.leads(self.west) and self.mirror(self.west) is not None:
            self.west.house.run(VmShutdown(self.vm))
            self.pass_time(20)
            self.west.house.run(VmMirrorResync(self.vm))
            self.pass_time(20)


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_story(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "RETRY_INTERVAL", 0.001)
    monkeypatch.setattr(shipping, "PATIENCE", -1.0)
    story = Story(tmp_path, seed)
    for _ in range(STEPS):
        story.act()
        try:
            story.check()
        except AssertionError:
            print("\n".join(story.told))
            raise
    print("\n".join(story.told))
    story.end_well()
