from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.errors import Conflict, NotFound
from pvc_core.model.fence import Fence, FenceStep, Method
from pvc_core.model.node import DomainState
from pvc_core.model.vm import VmState
from pvc_core.ops.fence import NodeFenceConfirm
from pvc_core.state import records
from tests.unit.ops.house import House


def begin(house: House, step: FenceStep = FenceStep.FAILED) -> Fence:
    fence = Fence("n3", "boot-n3", ("10.0.3.3",), step, 1.0, 1.0, "silent")
    house.state.put(records.fence("n3"), fence)
    return fence


def test_a_persons_word_confirms_a_fence_that_failed(house: House) -> None:
    house.stop_daemon("n3")
    fence = begin(house)
    house.run(NodeFenceConfirm("n3"))
    now = house.state.get(records.fence("n3")).value
    assert now == replace(fence, step=FenceStep.RECOVERING, confirmed_by=Method.HAND, since=now.since)
    assert house.state.get(records.node("n3")).value.domain_state is DomainState.FLUSHED
    [fault] = house.view.snapshot().faults.values()
    assert "n3" in fault.message


def test_it_begins_a_fence_where_the_cluster_may_not(house: House) -> None:
    house.stop_daemon("n3")
    house.run(NodeFenceConfirm("n3"))
    assert house.state.get(records.fence("n3")).value.step is FenceStep.RECOVERING


@pytest.mark.parametrize("step", [FenceStep.RECOVERING, FenceStep.FENCED, FenceStep.RETURNED])
def test_what_is_confirmed_needs_no_word(house: House, step: FenceStep) -> None:
    house.stop_daemon("n3")
    begin(house, step)
    with pytest.raises(Conflict, match="confirmed already"):
        house.run(NodeFenceConfirm("n3"))


def test_a_machine_with_a_disk_of_the_nodes_own_waits_for_a_word_though_storage_is_confirmed(house: House) -> None:
    uuid = house.define(1, VmState.START, node="n3")
    house.stop_daemon("n3")
    fence = replace(begin(house, FenceStep.FENCED), confirmed_by=Method.STORAGE)
    house.state.put(records.fence("n3"), fence)
    assert house.status(uuid).node == "n3"
    house.run(NodeFenceConfirm("n3"))
    assert house.state.get(records.fence("n3")).value == replace(fence, confirmed_by=Method.HAND)


def test_a_node_that_is_alive_is_not_off(house: House) -> None:
    before = house.picture()
    with pytest.raises(Conflict, match="n3 is alive"):
        house.run(NodeFenceConfirm("n3"))
    assert house.picture() == before


def test_an_unknown_node(house: House) -> None:
    with pytest.raises(NotFound, match="n9"):
        house.run(NodeFenceConfirm("n9"))
