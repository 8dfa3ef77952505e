"""Who claims to be primary, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pvc_core.model.fence import Fence, FenceStep
from pvc_core.model.node import Alive, DaemonState, DomainState, NodeRole, Primary
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.rules import election
from pvc_core.rules.election import Claim
from tests.records import node, node_entry

RUN = DaemonState.RUN


def cluster(primary: Primary | None, **states: DaemonState | None) -> ClusterSnapshot:
    """Nodes by name with the state their daemon shows, None for one that is not alive; ``hv`` is a hypervisor."""
    nodes = {}
    for name, state in states.items():
        role = NodeRole.HYPERVISOR if name.startswith("hv") else NodeRole.COORDINATOR
        alive = None if state is None else Alive("boot", 1, state, 10)
        nodes[name] = node_entry(node(name, role), alive)
    return ClusterSnapshot(nodes=nodes, primary=primary)


def with_node(snapshot: ClusterSnapshot, entry: NodeEntry) -> ClusterSnapshot:
    return replace(snapshot, nodes={**snapshot.nodes, entry.node.name: entry})


def claims(snapshot: ClusterSnapshot) -> dict[str, Primary]:
    decided = {name: election.decide(snapshot, name) for name in snapshot.nodes}
    return {name: claim.new for name, claim in decided.items() if claim is not None}


def test_without_a_primary_the_first_living_coordinator_claims_the_first_epoch() -> None:
    snapshot = cluster(None, n2=RUN, n1=None, n3=RUN, hv0=RUN)
    assert claims(snapshot) == {"n2": Primary("n2", 1)}


@pytest.mark.parametrize("state", [None, DaemonState.SHUTDOWN, DaemonState.STOP])
def test_a_primary_that_does_not_run_is_replaced_with_the_next_epoch(state: DaemonState | None) -> None:
    old = Primary("n1", 4)
    snapshot = cluster(old, n1=state, n2=RUN, n3=RUN)
    assert election.decide(snapshot, "n2") == Claim(old, Primary("n2", 5), "n1 does not run")
    assert claims(snapshot) == {"n2": Primary("n2", 5)}


def test_a_primary_whose_daemon_is_started_again_keeps_the_role() -> None:
    assert claims(cluster(Primary("n2", 4), n1=RUN, n2=DaemonState.INIT)) == {}


def test_a_primary_that_is_no_coordinator_any_more_is_replaced() -> None:
    snapshot = cluster(Primary("n2", 4), n1=RUN, n2=RUN)
    entry = snapshot.nodes["n2"]
    hypervisor = replace(entry, node=replace(entry.node, role=NodeRole.HYPERVISOR))
    assert claims(with_node(snapshot, hypervisor)) == {"n1": Primary("n1", 5)}


def test_a_node_that_is_being_emptied_claims_only_where_no_other_can() -> None:
    snapshot = cluster(None, n1=RUN, n2=RUN)
    entry = snapshot.nodes["n1"]
    emptied = replace(entry, node=replace(entry.node, domain_state=DomainState.FLUSHED))
    assert claims(with_node(snapshot, emptied)) == {"n2": Primary("n2", 1)}
    assert claims(with_node(cluster(None, n1=RUN, n2=None), emptied)) == {"n1": Primary("n1", 1)}


def test_a_node_with_a_fence_claims_only_where_all_others_have_one_or_are_gone() -> None:
    """Else nobody could let them in again."""
    snapshot = cluster(None, n1=RUN, n2=RUN)
    fence = Fence("n1", "boot", (), FenceStep.RETURNED, 0.0, 0.0, "")
    assert claims(with_node(snapshot, replace(snapshot.nodes["n1"], fence=fence))) == {"n2": Primary("n2", 1)}
    for name in ("n1", "n2"):
        snapshot = with_node(snapshot, replace(snapshot.nodes[name], fence=replace(fence, node=name)))
    assert claims(snapshot) == {"n1": Primary("n1", 1)}


def test_a_primary_that_is_no_node_any_more_is_replaced() -> None:
    assert claims(cluster(Primary("gone", 9), n1=RUN)) == {"n1": Primary("n1", 10)}


@pytest.mark.parametrize(
    "snapshot",
    [
        cluster(Primary("n3", 2), n1=RUN, n2=RUN, n3=RUN),
        cluster(None, hv1=RUN, n1=None),
        cluster(None, n1=DaemonState.INIT, n2=DaemonState.SHUTDOWN),
        cluster(None),
    ],
    ids=["the primary runs", "hypervisors only", "nobody runs", "no nodes"],
)
def test_nobody_claims(snapshot: ClusterSnapshot) -> None:
    assert claims(snapshot) == {}
