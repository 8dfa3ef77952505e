"""What every Store does, whether ZooKeeper stands behind it or memory."""

from __future__ import annotations

import random
import threading

import pytest

from pvc_core.errors import Stale, Unavailable
from pvc_core.ports import Check, Create, Delete, Raw, Session, Store, Update
from tests.contract.worlds import StoreWorld, eventually


class Copy:
    """What a mirror delivered."""

    def __init__(self, store: Store, unwanted: str = "") -> None:
        self.records: dict[str, Raw] = {}
        self.unwanted = unwanted
        store.mirror("/pvc", self._wanted, self._on_change)

    def _wanted(self, path: str) -> bool:
        return not self.unwanted or not path.endswith(self.unwanted)

    def _on_change(self, path: str, raw: Raw | None) -> None:
        if raw is None:
            del self.records[path]
        else:
            self.records[path] = raw


def tree(store: Store, path: str = "/pvc") -> dict[str, Raw]:
    """The whole content, read record by record."""
    raw = store.get(path)
    found = {} if raw is None else {path: raw}
    for name in store.children(path):
        found |= tree(store, f"{path}/{name}")
    return found


@pytest.fixture
def store(stores: StoreWorld) -> Store:
    store = stores.connect()
    store.ensure("/pvc/vms")
    return store


@pytest.fixture
def other(stores: StoreWorld) -> Store:
    return stores.connect()


def test_a_record_is_read_back_with_version_0(store: Store) -> None:
    store.commit([Create("/pvc/a", b"one")])
    assert store.get("/pvc/a") == Raw(b"one", 0)


def test_a_missing_record_is_none_and_has_no_children(store: Store) -> None:
    assert store.get("/pvc/none") is None
    assert store.children("/pvc/none") == []


def test_children_are_sorted_names(store: Store) -> None:
    store.commit([Create(f"/pvc/vms/{name}", b"") for name in "cab"])
    assert store.children("/pvc/vms") == ["a", "b", "c"]


def test_each_update_raises_the_version(store: Store) -> None:
    store.commit([Create("/pvc/a", b"one")])
    store.commit([Update("/pvc/a", b"two", 0)])
    assert store.get("/pvc/a") == Raw(b"two", 1)


def test_an_update_of_another_version_is_stale_and_changes_nothing(store: Store) -> None:
    store.commit([Create("/pvc/a", b"one")])
    store.commit([Update("/pvc/a", b"two", 0)])
    with pytest.raises(Stale) as caught:
        store.commit([Update("/pvc/a", b"three", 0)])
    assert caught.value.path == "/pvc/a"
    assert store.get("/pvc/a") == Raw(b"two", 1)


@pytest.mark.parametrize(
    ("write", "path"),
    [
        (Create("/pvc/a", b""), "/pvc/a"),  # taken
        (Create("/pvc/none/a", b""), "/pvc/none/a"),  # no parent
        (Update("/pvc/none", b"", 0), "/pvc/none"),
        (Update("/pvc/a", b"", 7), "/pvc/a"),
        (Delete("/pvc/none", 0), "/pvc/none"),
        (Delete("/pvc/a", 7), "/pvc/a"),
        (Delete("/pvc/parent", 0), "/pvc/parent"),  # has a child
        (Check("/pvc/none", 0), "/pvc/none"),
        (Check("/pvc/a", 7), "/pvc/a"),
    ],
)
def test_a_transaction_with_one_write_that_does_not_fit_applies_none(store: Store, write: object, path: str) -> None:
    store.commit([Create("/pvc/a", b"one"), Create("/pvc/parent", b""), Create("/pvc/parent/child", b"")])
    before = tree(store)
    with pytest.raises(Stale) as caught:
        store.commit([Create("/pvc/b", b""), Check("/pvc/a", 0), write, Update("/pvc/a", b"never", 0)])
    assert caught.value.path == path
    assert tree(store) == before


def test_a_transaction_sees_its_own_writes(store: Store) -> None:
    store.commit([Create("/pvc/a", b""), Create("/pvc/a/b", b""), Update("/pvc/a", b"two", 0), Check("/pvc/a", 1)])
    store.commit([Delete("/pvc/a/b", 0), Delete("/pvc/a", 1)])
    assert store.get("/pvc/a") is None


@pytest.mark.parametrize("write", [Update("/pvc/a", b"", -1), Delete("/pvc/a", -1), Check("/pvc/a", -1)])
def test_no_write_is_unconditional(store: Store, write: object) -> None:
    store.commit([Create("/pvc/a", b"one")])
    with pytest.raises(ValueError, match="version"):
        store.commit([write])
    assert store.get("/pvc/a") == Raw(b"one", 0)


def test_ensure_makes_the_parents_and_may_be_repeated(store: Store) -> None:
    store.ensure("/pvc/x/y/z")
    store.ensure("/pvc/x/y/z")
    assert store.get("/pvc/x/y/z") == Raw(b"", 0)


def test_of_many_who_write_one_version_one_wins(stores: StoreWorld, store: Store) -> None:
    store.commit([Create("/pvc/counter", b"0")])

    def count(own: Store) -> None:
        for _ in range(25):
            while True:
                raw = own.get("/pvc/counter")
                assert raw is not None
                try:
                    own.commit([Update("/pvc/counter", b"%d" % (int(raw.data) + 1), raw.version)])
                    break
                except Stale:
                    continue

    threads = [threading.Thread(target=count, args=(stores.connect(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("/pvc/counter") == Raw(b"100", 100)


def test_ephemeral_records_end_with_the_session(store: Store, other: Store) -> None:
    other.commit([Create("/pvc/lock", b"", ephemeral=True), Create("/pvc/kept", b"")])
    assert store.get("/pvc/lock") is not None
    other.close()
    eventually(lambda: store.get("/pvc/lock") is None)
    assert store.get("/pvc/kept") is not None


def test_a_mirror_has_delivered_what_is_there_when_it_returns(store: Store) -> None:
    store.commit([Create("/pvc/vms/a", b"1"), Create("/pvc/vms/a/xml", b"2"), Create("/pvc/vms/a/xml/deep", b"3")])
    assert Copy(store).records == tree(store)


def test_a_mirror_of_nothing_delivers_what_comes(stores: StoreWorld) -> None:
    store = stores.connect()
    copy = Copy(store)
    assert copy.records == {}
    store.ensure("/pvc/a")
    store.settle(5)
    assert copy.records == tree(store)


def test_a_mirror_does_not_descend_into_what_is_not_wanted(store: Store) -> None:
    store.commit([Create("/pvc/vms/a", b""), Create("/pvc/vms/a/xml", b""), Create("/pvc/vms/a/xml/deep", b"")])
    copy = Copy(store, unwanted="/xml")
    store.commit([Update("/pvc/vms/a/xml", b"x", 0), Create("/pvc/vms/a/status", b"")])
    store.commit([Create("/pvc/vms/a/xml/late", b"")])
    store.settle(5)
    assert set(copy.records) == {"/pvc", "/pvc/vms", "/pvc/vms/a", "/pvc/vms/a/status"}


def test_settle_delivers_every_change_that_anyone_has_made(store: Store, other: Store) -> None:
    copy = Copy(store)
    other.commit([Create("/pvc/a", b"0")])
    for version in range(50):
        other.commit([Update("/pvc/a", b"%d" % (version + 1), version)])
        store.settle(5)
        assert copy.records["/pvc/a"] == Raw(b"%d" % (version + 1), version + 1)


def test_a_mirror_forgets_what_was_deleted(store: Store, other: Store) -> None:
    store.commit([Create("/pvc/a", b""), Create("/pvc/a/b", b"")])
    copy = Copy(store)
    other.commit([Delete("/pvc/a/b", 0), Delete("/pvc/a", 0)])
    store.settle(5)
    assert copy.records == tree(store)


def test_without_a_connection_everything_is_unavailable(stores: StoreWorld, store: Store) -> None:
    stores.suspend(store)
    assert store.session is Session.SUSPENDED
    for call in (
        lambda: store.get("/pvc"),
        lambda: store.children("/pvc"),
        lambda: store.commit([Create("/pvc/a", b"")]),
        lambda: store.ensure("/pvc/a"),
        lambda: store.settle(1),
        lambda: Copy(store),
    ):
        with pytest.raises(Unavailable):
            call()


def test_after_a_broken_connection_the_session_goes_on_and_the_mirror_is_right(
    stores: StoreWorld, store: Store, other: Store
) -> None:
    store.commit([Create(f"/pvc/{name}", b"old") for name in ("same", "changed", "gone", "again")])
    store.commit([Create("/pvc/lock", b"", ephemeral=True), Create("/pvc/gone/child", b"")])
    copy = Copy(store)
    owner, heard = store.owner, []
    store.on_session(heard.append)

    stores.suspend(store)
    other.commit([Update("/pvc/changed", b"new", 0), Delete("/pvc/gone/child", 0), Delete("/pvc/gone", 0)])
    other.commit([Delete("/pvc/again", 0)])
    other.commit([Create("/pvc/again", b"old"), Create("/pvc/again/child", b"new")])
    stores.resume(store)

    store.settle(10)
    assert copy.records == tree(store)
    assert store.owner == owner
    assert store.get("/pvc/lock") is not None
    assert heard == [Session.SUSPENDED, Session.CONNECTED]


def test_a_mirror_follows_on_after_a_broken_connection(stores: StoreWorld, store: Store, other: Store) -> None:
    copy = Copy(store)
    for round_ in range(3):
        stores.suspend(store)
        stores.resume(store)
        other.commit([Create(f"/pvc/vms/{round_}", b"")])
        store.settle(10)
        assert copy.records == tree(store)


def test_a_session_that_ended_is_replaced_and_its_ephemerals_are_gone(
    stores: StoreWorld, store: Store, other: Store
) -> None:
    store.commit([Create("/pvc/lock", b"", ephemeral=True)])
    copy, seen_by_other = Copy(store), Copy(other)
    owner, heard = store.owner, []
    store.on_session(heard.append)

    stores.expire(store)

    store.settle(10)
    other.settle(10)
    assert store.owner not in (0, owner)
    assert Session.LOST in heard
    assert heard[-1] is Session.CONNECTED
    assert "/pvc/lock" not in copy.records
    assert "/pvc/lock" not in seen_by_other.records
    store.commit([Create("/pvc/lock", b"", ephemeral=True)])
    store.settle(10)
    assert copy.records == tree(store)


def test_a_session_that_ended_unheard_is_noticed_on_return(stores: StoreWorld, store: Store, other: Store) -> None:
    store.commit([Create("/pvc/lock", b"", ephemeral=True)])
    copy = Copy(store)
    heard: list[Session] = []
    store.on_session(heard.append)
    stores.suspend(store)
    stores.expire(store)
    assert store.session is Session.SUSPENDED
    assert other.get("/pvc/lock") is None
    stores.resume(store)
    store.settle(10)
    assert heard == [Session.SUSPENDED, Session.LOST, Session.CONNECTED]
    assert copy.records == tree(store)


def test_a_closed_store_is_unavailable(store: Store, other: Store) -> None:
    other.close()
    assert other.owner == 0
    with pytest.raises(Unavailable):
        other.get("/pvc")


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_the_mirror_ends_as_the_tree(stores: StoreWorld, store: Store, seed: int) -> None:
    """Random writes by two clients while a third's connection comes and goes; its copy ends like the original."""
    copy = Copy(store)
    stop = threading.Event()

    def scribble(own: Store, number: int) -> None:
        choice = random.Random(f"{seed}-{number}")
        while not stop.is_set():
            path = f"/pvc/vms/{choice.randrange(20)}"
            path += choice.choice(["", "", "/status", "/xml"])
            raw = own.get(path)
            try:
                if raw is None:
                    own.commit([Create(path, b"new")])
                elif choice.random() < 0.4:
                    own.commit([Delete(path, raw.version)])
                else:
                    own.commit([Update(path, b"%d" % choice.randrange(10**6), raw.version)])
            except Stale:
                continue

    writers = [threading.Thread(target=scribble, args=(stores.connect(), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for round_ in range(6):
        stop.wait(0.1)
        stores.suspend(store)
        stop.wait(0.05)
        if round_ % 3 == 2:
            stores.expire(store)
        stores.resume(store)
    stop.set()
    for writer in writers:
        writer.join()
    store.settle(10)
    assert copy.records == tree(store)
