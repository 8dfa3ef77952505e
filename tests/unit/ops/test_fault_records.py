"""Faults are acknowledged and deleted, one or all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvc_core.errors import NotFound
from pvc_core.model.fault import FaultStatus, Finding, raised
from pvc_core.ops.fault import FaultAcknowledge, FaultDelete
from pvc_core.state import faults, records
from tests.unit.ops.house import House

ONE, TWO = (Finding(f"vm-failed:{number}", "", 10, f"VM vm{number}: no disk") for number in (1, 2))


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    for finding in (ONE, TWO):
        house.state.put(records.fault(finding.id), raised(finding, 1.0, 2.0))
    return house


def status(house: House, finding: Finding) -> FaultStatus | None:
    entry = house.state.find(records.fault(finding.id))
    return None if entry is None else entry.value.status


def test_one_is_acknowledged(house: House) -> None:
    assert house.run(FaultAcknowledge(ONE.id))["message"] == f"Fault {ONE.id} is acknowledged"
    assert (status(house, ONE), status(house, TWO)) == (FaultStatus.ACK, FaultStatus.NEW)
    assert house.state.get(records.fault(ONE.id)).value.acknowledged_at == house.lab.clock.now()


def test_acknowledging_again_changes_nothing(house: House) -> None:
    house.run(FaultAcknowledge(ONE.id))
    before = house.state.get(records.fault(ONE.id))
    house.lab.clock.advance(60)
    house.run(FaultAcknowledge(ONE.id))
    assert house.state.get(records.fault(ONE.id)) == before


def test_all_are_acknowledged(house: House) -> None:
    house.run(FaultAcknowledge())
    assert (status(house, ONE), status(house, TWO)) == (FaultStatus.ACK, FaultStatus.ACK)


def test_one_is_deleted_and_all_are(house: House) -> None:
    house.run(FaultDelete(ONE.id))
    assert (status(house, ONE), status(house, TWO)) == (None, FaultStatus.NEW)
    house.run(FaultDelete())
    assert status(house, TWO) is None
    house.run(FaultDelete())


@pytest.mark.parametrize("operation", [FaultAcknowledge, FaultDelete])
def test_one_that_is_not_there_is_named(house: House, operation: type[FaultAcknowledge | FaultDelete]) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        house.run(operation("nothing"))


def test_the_fault_of_an_event_is_added_once(house: House) -> None:
    """As by two fencers, of which the second finishes what the first began."""
    event = Finding("fenced:n2:1", "n2", 10, "n2: was fenced", event=True)
    for now in (5.0, 9.0):
        transaction = house.state.transaction()
        faults.add(transaction, house.state, event, now)
        transaction.commit()
    assert house.state.get(records.fault(event.id)).value == raised(event, 5.0, 5.0)
