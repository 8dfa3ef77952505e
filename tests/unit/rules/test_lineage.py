"""Which side of a mirrored machine leads, and what the other one may do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.config import TimingConfig
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, PeerWatch, Promotion, Word
from pvc_core.model.snapshot import ClusterSnapshot
from pvc_core.rules.lineage import (
    Relation,
    begun,
    compare,
    heard,
    hindrance,
    lag,
    promoted,
    received,
    refusal,
    supersedes,
    watched,
)

EAST, WEST = "east", "west"
NOW = 10_000.0
TIMING = TimingConfig(mirror_away=60.0)

promotions = st.lists(st.tuples(st.sampled_from([EAST, WEST]), st.booleans(), st.sampled_from([1.0, 2.0])), max_size=5)


def lineage(*leaders: str, forced: bool = False) -> Lineage:
    """A lineage led by these clusters one after the other; ``forced`` is the last promotion."""
    last = len(leaders)
    return Lineage(
        tuple(
            Promotion(n, who, f"s{n}", forced=forced and n == last, time=float(n)) for n, who in enumerate(leaders, 1)
        )
    )


def mirror(role: MirrorRole, ours: Lineage, **fields: object) -> Mirror:
    return Mirror("vm1", WEST, role, ours, **fields)  # type: ignore[arg-type]


def grown(stem: Lineage, steps: list[tuple[str, bool, float]]) -> Lineage:
    for who, forced, time in steps:
        stem = promoted([stem], who, "s", forced=forced, now=time)
    return stem


@given(promotions, promotions, promotions)
def test_lineages_are_compared_by_where_they_part(
    stem: list[tuple[str, bool, float]], mine: list[tuple[str, bool, float]], other: list[tuple[str, bool, float]]
) -> None:
    root = grown(begun(EAST, 0.0), stem)
    ours, theirs = grown(root, mine), grown(root, other)
    shorter = min(len(mine), len(other))
    if mine[:shorter] != other[:shorter]:
        expected = Relation.FORKED
    elif len(mine) == len(other):
        expected = Relation.SAME
    else:
        expected = Relation.AHEAD if len(mine) > len(other) else Relation.BEHIND
    assert compare(ours, theirs) is expected


@given(promotions, promotions)
def test_the_two_sides_see_the_same_from_their_ends(
    mine: list[tuple[str, bool, float]], other: list[tuple[str, bool, float]]
) -> None:
    ours, theirs = grown(begun(EAST, 0.0), mine), grown(begun(EAST, 0.0), other)
    mirrored = {Relation.AHEAD: Relation.BEHIND, Relation.BEHIND: Relation.AHEAD}
    seen = compare(ours, theirs)
    assert compare(theirs, ours) is mirrored.get(seen, seen)


@given(promotions, promotions, st.booleans())
def test_a_promotion_is_above_all_that_is_known_and_contains_ours(
    mine: list[tuple[str, bool, float]], other: list[tuple[str, bool, float]], forced: bool
) -> None:
    ours, theirs = grown(begun(EAST, 0.0), mine), grown(begun(EAST, 0.0), other)
    after = promoted([ours, theirs], WEST, "s9", forced=forced, now=NOW)
    assert after.promotions[-1] == Promotion(max(ours.epoch, theirs.epoch) + 1, WEST, "s9", forced, NOW)
    assert compare(after, ours) is Relation.AHEAD
    if compare(ours, theirs) is not Relation.FORKED:
        assert compare(after, theirs) is Relation.AHEAD
    epochs = [promotion.epoch for promotion in after.promotions]
    assert epochs == sorted(set(epochs))


@given(promotions, promotions)
def test_two_leaders_never_give_way_to_each_other(
    mine: list[tuple[str, bool, float]], other: list[tuple[str, bool, float]]
) -> None:
    ours, theirs = grown(begun(EAST, 0.0), mine), grown(begun(EAST, 0.0), other)
    assert not (supersedes(ours, theirs) and supersedes(theirs, ours))
    if ours.leader != theirs.leader and ours.epoch != theirs.epoch:
        assert supersedes(ours, theirs) or supersedes(theirs, ours)


def test_a_first_mirror_begins_an_epoch() -> None:
    assert begun(EAST, NOW) == Lineage((Promotion(1, EAST, "", forced=False, time=NOW),))


def test_a_machine_that_is_not_known_may_be_received() -> None:
    assert refusal(None, lineage(EAST), EAST) == ""


def test_only_the_leader_may_send() -> None:
    assert "does not lead: cluster west does, since epoch 2" in refusal(None, lineage(EAST, WEST), EAST)


@pytest.mark.parametrize("role", [MirrorRole.SECONDARY, MirrorRole.HANDING])
@pytest.mark.parametrize("ours", [lineage(EAST), lineage(EAST, WEST), lineage(EAST, WEST, EAST)])
def test_a_side_that_wrote_nothing_of_its_own_may_receive_from_who_leads(role: MirrorRole, ours: Lineage) -> None:
    assert refusal(mirror(role, ours), lineage(EAST, WEST, EAST), EAST) == ""


@pytest.mark.parametrize("role", [MirrorRole.PRIMARY, MirrorRole.SUPERSEDED])
def test_what_was_written_here_alone_is_not_written_over(role: MirrorRole) -> None:
    assert "would be lost" in refusal(mirror(role, lineage(WEST)), lineage(WEST, EAST), EAST)


@pytest.mark.parametrize("role", list(MirrorRole))
def test_a_superseded_sender_is_turned_down(role: MirrorRole) -> None:
    assert "it was superseded" in refusal(mirror(role, lineage(EAST, WEST)), lineage(EAST), EAST)


@pytest.mark.parametrize("role", list(MirrorRole))
def test_sides_that_were_both_promoted_are_never_merged(role: MirrorRole) -> None:
    ours = lineage(EAST, WEST, forced=True)
    assert "both sides were promoted on their own" in refusal(mirror(role, ours), lineage(EAST, EAST), EAST)


def test_what_came_whole_is_recorded_with_the_senders_lineage() -> None:
    first = received(None, "vm1", EAST, lineage(EAST), "s1", 50.0)
    assert first == Mirror("vm1", EAST, MirrorRole.SECONDARY, lineage(EAST), shared="s1", shared_created=50.0)
    again = received(replace(first, goal=120.0), "vm1", "", lineage(EAST, WEST, EAST), "s2", 60.0)
    assert again == replace(first, goal=120.0, lineage=lineage(EAST, WEST, EAST), shared="s2", shared_created=60.0), (
        "the name under which the sender is known stays, and so do the settings"
    )


def test_a_side_that_handed_over_becomes_the_secondary_with_the_first_it_receives() -> None:
    handing = mirror(MirrorRole.HANDING, lineage(EAST, WEST))
    assert received(handing, "vm1", WEST, lineage(EAST, WEST), "s2", 60.0).role is MirrorRole.SECONDARY


def test_a_primary_hears_that_it_was_superseded_and_keeps_its_own_lineage() -> None:
    ours = mirror(MirrorRole.PRIMARY, lineage(EAST))
    theirs = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST, forced=True))
    assert heard(ours, theirs) == replace(ours, role=MirrorRole.SUPERSEDED)


@pytest.mark.parametrize("theirs", [lineage(EAST), lineage(EAST, EAST)])
def test_a_primary_is_not_superseded_by_its_own_promotions(theirs: Lineage) -> None:
    ours = mirror(MirrorRole.PRIMARY, lineage(EAST))
    assert heard(ours, mirror(MirrorRole.SECONDARY, theirs)) == ours


def test_of_two_that_were_promoted_on_their_own_the_lower_epoch_gives_way() -> None:
    low = mirror(MirrorRole.PRIMARY, lineage(EAST, EAST, forced=True))
    high = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST, WEST, forced=True))
    assert heard(low, high).role is MirrorRole.SUPERSEDED
    assert heard(high, low) == high


def test_with_equal_epochs_a_person_decides() -> None:
    ours = mirror(MirrorRole.PRIMARY, lineage(EAST, EAST, forced=True))
    theirs = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST, forced=True))
    assert heard(ours, theirs) == ours
    assert heard(theirs, ours) == theirs


def test_a_handover_is_complete_once_the_other_side_says_so() -> None:
    handing = mirror(MirrorRole.HANDING, lineage(EAST, WEST))
    assert heard(handing, mirror(MirrorRole.SECONDARY, lineage(EAST))) == handing
    for theirs in (lineage(EAST, WEST), lineage(EAST, WEST, WEST)):
        done = heard(handing, mirror(MirrorRole.PRIMARY, theirs))
        assert (done.role, done.lineage) == (MirrorRole.SECONDARY, theirs)


def test_a_handover_to_a_side_that_was_promoted_by_force_meanwhile_leaves_something_to_keep() -> None:
    handing = mirror(MirrorRole.HANDING, lineage(EAST, WEST))
    forced = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST, forced=True))
    assert heard(handing, forced).role is MirrorRole.SUPERSEDED


@pytest.mark.parametrize("role", [MirrorRole.SECONDARY, MirrorRole.SUPERSEDED])
@pytest.mark.parametrize("theirs", [lineage(EAST), lineage(EAST, WEST), lineage(WEST, WEST, WEST)])
def test_who_does_not_lead_changes_nothing_by_hearing(role: MirrorRole, theirs: Lineage) -> None:
    ours = mirror(role, lineage(EAST))
    assert heard(ours, mirror(MirrorRole.PRIMARY, theirs)) == ours


def site(
    ours: Mirror | None,
    *,
    since: float = 0.0,
    attempted: float = NOW,
    answered: float = NOW,
    theirs: Mirror | None = None,
) -> ClusterSnapshot:
    heard_of = {} if theirs is None else {"vm1": theirs}
    watch = PeerWatch(WEST, since=since, attempted=attempted, answered=answered, mirrors=heard_of)
    return ClusterSnapshot(mirrors={} if ours is None else {"vm1": ours}, peers={WEST: watch})


LEADS = mirror(MirrorRole.PRIMARY, lineage(EAST))
FOLLOWS = mirror(MirrorRole.SECONDARY, lineage(EAST))


def why_not(snapshot: ClusterSnapshot, timing: TimingConfig = TIMING) -> str:
    return hindrance(snapshot, "vm1", NOW, timing)


def test_a_machine_without_a_mirror_starts() -> None:
    assert why_not(site(None)) == ""


@pytest.mark.parametrize("role", [MirrorRole.SECONDARY, MirrorRole.HANDING, MirrorRole.SUPERSEDED])
@pytest.mark.parametrize("answered", [0.0, NOW])
def test_who_does_not_lead_never_starts_it(role: MirrorRole, answered: float) -> None:
    assert why_not(site(mirror(role, lineage(EAST)), answered=answered, theirs=FOLLOWS)) != ""


def test_a_primary_whose_peer_follows_starts() -> None:
    assert why_not(site(LEADS, theirs=FOLLOWS)) == ""


def test_a_site_that_was_up_all_the_time_starts_although_the_link_is_cut() -> None:
    assert why_not(site(LEADS, since=100.0, answered=200.0, theirs=FOLLOWS)) == ""


def test_a_later_epoch_at_the_peer_hinders_however_old_the_answer() -> None:
    taken = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST, forced=True))
    for answered in (0.0, 200.0, NOW):
        assert "cluster west was promoted (epoch 2, here 1)" in why_not(site(LEADS, answered=answered, theirs=taken))


def test_a_site_that_was_away_waits_for_an_answer() -> None:
    assert "has not answered since" in why_not(site(LEADS, since=NOW - 30, answered=NOW - 4000, theirs=FOLLOWS))
    assert why_not(site(LEADS, since=NOW - 30, answered=NOW - 30, theirs=FOLLOWS)) == ""


@pytest.mark.parametrize("attempted", [NOW - 61, NOW + 61])
def test_a_site_that_has_not_asked_for_long_waits(attempted: float) -> None:
    """Also when its clock was put back: nobody can tell how long it was away."""
    assert "has not been asked yet" in why_not(site(LEADS, attempted=attempted, theirs=FOLLOWS))


@pytest.mark.parametrize("attempted", [NOW - 60, NOW + 60])
def test_a_short_pause_is_no_absence(attempted: float) -> None:
    assert why_not(site(LEADS, attempted=attempted, theirs=FOLLOWS)) == ""


def test_a_peer_that_was_never_asked() -> None:
    assert "has not been asked yet" in why_not(ClusterSnapshot(mirrors={"vm1": LEADS}))


def test_what_a_person_promoted_here_since_the_site_is_back_starts_unheard() -> None:
    chosen = mirror(MirrorRole.PRIMARY, Lineage((*lineage(EAST).promotions, Promotion(2, EAST, "", True, NOW - 20))))
    assert why_not(site(chosen, since=NOW - 30, answered=0.0)) == ""
    assert why_not(site(chosen, since=NOW - 10, answered=0.0)) != "", "it was away again since"
    assert why_not(ClusterSnapshot(mirrors={"vm1": chosen})) == ""


def test_a_site_may_be_told_to_start_unheard_after_a_while() -> None:
    patient = replace(TIMING, mirror_unheard=300.0)
    assert why_not(site(LEADS, since=NOW - 299, answered=0.0), patient) != ""
    assert why_not(site(LEADS, since=NOW - 300, answered=0.0), patient) == ""
    taken = mirror(MirrorRole.PRIMARY, lineage(EAST, WEST))
    assert why_not(site(LEADS, since=NOW - 900, answered=0.0, theirs=taken), patient) != ""


def test_a_machine_that_came_from_a_cluster_without_a_name_here_starts() -> None:
    assert why_not(ClusterSnapshot(mirrors={"vm1": replace(LEADS, peer="")})) == ""


def test_a_row_of_tries_goes_on_while_none_comes_late() -> None:
    watch = watched(None, WEST, 100.0, 101.0, None, TIMING)
    assert watch == PeerWatch(WEST, since=100.0, attempted=101.0)
    watch = watched(watch, WEST, 160.0, 161.0, None, TIMING)
    assert (watch.since, watch.attempted) == (100.0, 161.0)
    watch = watched(watch, WEST, 221.0, 222.0, None, TIMING)
    assert (watch.since, watch.attempted) == (221.0, 222.0)


def test_an_answer_that_takes_long_is_no_absence() -> None:
    watch = watched(None, WEST, 100.0, 101.0, None, TIMING)
    for now in (150.0, 200.0):
        watch = watched(watch, WEST, now, now, None, TIMING)
    watch = watched(watch, WEST, 105.0, 220.0, Word(WEST, 220.0, {}), TIMING)
    assert (watch.since, watch.answered, watch.attempted) == (100.0, 105.0, 220.0)


def test_an_answer_to_a_question_from_before_an_absence_does_not_count() -> None:
    watch = watched(None, WEST, 100.0, 101.0, None, TIMING)
    watch = watched(watch, WEST, 900.0, 900.0, None, TIMING)
    watch = watched(watch, WEST, 105.0, 901.0, Word(WEST, 901.0, {}), TIMING)
    snapshot = ClusterSnapshot(mirrors={"vm1": LEADS}, peers={WEST: watch})
    assert "has not answered since" in hindrance(snapshot, "vm1", 901.0, TIMING)


def test_an_answer_counts_from_when_the_question_was_asked() -> None:
    word = Word("fsid-west", 3705.0, {"vm1": FOLLOWS})
    watch = watched(None, WEST, 100.0, 110.0, word, TIMING)
    assert (watch.answered, watch.fsid, watch.offset, watch.mirrors) == (100.0, "fsid-west", 3600.0, word.mirrors)
    silent = watched(watch, WEST, 115.0, 120.0, None, TIMING)
    assert silent == replace(watch, attempted=120.0)


@given(st.lists(st.floats(1.0, 300.0), min_size=1, max_size=20), st.integers(0, 19))
def test_no_absence_is_forgotten_before_an_answer(gaps: list[float], answered_at: int) -> None:
    """However the tries come: the machine may start only if an answer came after the last gap."""
    watch, now, back, answer = None, 1000.0, 1000.0, None
    for number, gap in enumerate(gaps):
        now += gap
        back = now if number == 0 or gap > TIMING.mirror_away else back
        word = Word(WEST, now, {}) if number == answered_at else None
        answer = now if word else answer
        watch = watched(watch, WEST, now, now, word, TIMING)
    assert watch is not None
    snapshot = ClusterSnapshot(mirrors={"vm1": LEADS}, peers={WEST: watch})
    assert (hindrance(snapshot, "vm1", now, TIMING) == "") is (answer is not None and answer >= back)


def test_the_lag_counts_from_the_moment_of_the_shared_snapshot() -> None:
    assert lag(LEADS, None, NOW) is None
    for role in (MirrorRole.PRIMARY, MirrorRole.HANDING, MirrorRole.SUPERSEDED):
        led = replace(LEADS, role=role, shared="s1", shared_created=NOW - 40)
        assert lag(led, PeerWatch(WEST, offset=3600.0), NOW) == 40.0


def test_at_the_second_site_the_primarys_clock_counts() -> None:
    copy = replace(FOLLOWS, shared="s1", shared_created=NOW + 3560.0)
    assert lag(copy, PeerWatch(WEST, offset=3600.0), NOW) == 40.0
    assert lag(copy, None, NOW) == 0.0
