"""What is kept of a row of backups."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvc_core.errors import BadRequest
from pvc_core.model.backup import Backup, Retention
from pvc_core.rules.retention import chain, judge, next_is_full, surplus

HOUR, DAY = 3600.0, 86400.0
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()


def row(count: int, step: float, increments: int = 0) -> list[Backup]:
    """Backups ``step`` seconds apart, the newest at NOON, each full one with ``increments`` on it."""
    found: list[Backup] = []
    full = ""
    for number in range(count):
        is_full = number % (increments + 1) == 0
        name = f"b{number:03}"
        full = name if is_full else full
        found.append(Backup(name, NOON - (count - 1 - number) * step, "" if is_full else full))
    return found


def kept(backups: list[Backup], text: str) -> list[str]:
    return [verdict.backup.name for verdict in judge(backups, Retention.parse(text)) if verdict.keep][::-1]


def test_without_a_retention_everything_is_kept() -> None:
    assert len(kept(row(50, HOUR), "")) == 50


def test_last_keeps_the_newest() -> None:
    assert kept(row(10, HOUR), "last=3") == ["b007", "b008", "b009"]


def test_a_day_keeps_its_newest_backup() -> None:
    backups = row(48, HOUR)  # b047 at noon, so the day before ends with b034
    assert kept(backups, "daily=2") == ["b034", "b047"]


def test_a_later_number_counts_from_where_the_earlier_ones_have_nothing() -> None:
    backups = row(10, DAY)
    assert kept(backups, "last=2,daily=3") == ["b005", "b006", "b007", "b008", "b009"]


def test_weeks_are_those_of_iso_8601() -> None:
    sunday, monday = (datetime(2026, 1, day, 12, tzinfo=UTC).timestamp() for day in (4, 5))
    new_year = datetime(2025, 12, 31, 12, tzinfo=UTC).timestamp()  # week 1 of 2026
    backups = [Backup("wednesday", new_year), Backup("sunday", sunday), Backup("monday", monday)]
    assert kept(backups, "weekly=5") == ["sunday", "monday"]


def test_periods_in_which_nothing_was_made_do_not_count() -> None:
    backups = [Backup("old", NOON - 900 * DAY), Backup("older", NOON - 2000 * DAY), Backup("new", NOON)]
    assert kept(backups, "yearly=2") == ["old", "new"]
    assert kept(backups, "hourly=3") == ["older", "old", "new"]


def test_a_full_backup_stays_while_a_kept_increment_needs_it() -> None:
    backups = row(10, DAY, increments=6)
    assert kept(backups, "last=1") == ["b007", "b009"]
    verdict = next(each for each in judge(backups, Retention(last=1)) if each.backup.name == "b007")
    assert verdict.why == "b009 needs it"


def test_increments_on_increments_keep_the_whole_row_below_them() -> None:
    backups = [Backup("a", 0), Backup("b", 1, "a"), Backup("c", 2, "b"), Backup("d", 3, "c"), Backup("e", 4, "a")]
    assert kept(backups, "last=2") == ["a", "b", "c", "d", "e"]
    assert kept(backups, "last=1") == ["a", "e"]


def test_the_older_scheme_keeps_full_backups_with_their_increments() -> None:
    backups = row(21, DAY, increments=6)
    assert kept(backups, "full=2") == [f"b{number:03}" for number in range(7, 21)]


def test_what_cannot_be_restored_is_neither_counted_nor_removed() -> None:
    backups = [Backup("whole", 0), Backup("orphan", 1, "lost"), Backup("on orphan", 2, "orphan")]
    verdicts = {verdict.backup.name: verdict for verdict in judge(backups, Retention(last=1))}
    assert all(verdict.keep for verdict in verdicts.values())
    assert "needs lost" in verdicts["on orphan"].why
    assert verdicts["whole"].why == "last 1 of 1"


def test_backups_that_name_each_other_as_parents_end() -> None:
    backups = [Backup("a", 0, "b"), Backup("b", 1, "a"), Backup("c", 2)]
    assert kept(backups, "last=1") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("backups", "interval", "full"),
    [
        ([], 7, True),
        (row(1, DAY), 1, True),
        (row(1, DAY), 7, False),
        (row(6, DAY, increments=6), 7, False),
        (row(7, DAY, increments=6), 7, True),
        (row(8, DAY, increments=6), 7, False),
        ([Backup("orphan", 0, "lost")], 7, True),
    ],
)
def test_one_backup_in_so_many_is_full(backups: list[Backup], interval: int, full: bool) -> None:
    assert next_is_full(backups, interval) is full


def test_the_newest_snapshots_of_a_mirror_stay_and_the_one_both_sides_share() -> None:
    taken = {f"s{number}": (number, 0.0) for number in range(6)}
    assert surplus(taken, 2, "s1") == ["s3", "s2", "s0"]
    assert surplus(taken, 9, "") == []


@pytest.mark.parametrize("text", ["3", "last", "last=-1", "last=x", "lost=3", "last=1,last=2", "full=2,last=1"])
def test_a_retention_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Retention.parse(text)


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    """Any row of backups: increments on anything earlier, gaps of any length, some parents lost."""
    gaps = draw(st.lists(st.sampled_from((60.0, HOUR, 5 * HOUR, DAY, 30 * DAY, 400 * DAY)), max_size=30))
    found: list[Backup] = []
    time = draw(st.floats(0, NOON))
    for number, gap in enumerate(gaps):
        time += gap
        earlier = [backup.name for backup in found]
        parent = draw(st.sampled_from(["", "", *earlier, "lost"]))
        found.append(Backup(f"b{number}", time, parent))
    return draw(st.permutations(found))


numbers = st.integers(0, 6)
retentions = st.builds(Retention, numbers, numbers, numbers, numbers, numbers, numbers) | st.builds(
    Retention, full=st.integers(1, 4)
)


@given(histories(), retentions)
def test_whatever_is_kept_can_be_restored_after_the_others_are_gone(backups: list[Backup], rule: Retention) -> None:
    known = {backup.name: backup for backup in backups}
    restorable = {backup.name for backup in backups if not chain(backup, known)[-1].parent}
    left = {verdict.backup.name: verdict.backup for verdict in judge(backups, rule) if verdict.keep}
    assert all(not chain(backup, left)[-1].parent for name, backup in left.items() if name in restorable)


@given(histories(), retentions)
def test_the_newest_backup_that_can_be_restored_is_always_kept(backups: list[Backup], rule: Retention) -> None:
    known = {backup.name: backup for backup in backups}
    whole = [backup for backup in backups if not chain(backup, known)[-1].parent]
    if whole and not rule.full:
        newest = max(whole, key=lambda backup: (backup.time, backup.name))
        assert next(each for each in judge(backups, rule) if each.backup == newest).keep


@given(histories(), retentions)
def test_everything_is_judged_once_and_all_that_is_kept_says_why(backups: list[Backup], rule: Retention) -> None:
    verdicts = judge(backups, rule)
    assert sorted(verdict.backup.name for verdict in verdicts) == sorted(backup.name for backup in backups)
    assert all(bool(verdict.why) == verdict.keep for verdict in verdicts)


@given(histories(), retentions)
def test_judging_again_what_was_kept_removes_nothing_more(backups: list[Backup], rule: Retention) -> None:
    left = [verdict.backup for verdict in judge(backups, rule) if verdict.keep]
    assert all(verdict.keep for verdict in judge(left, rule) if not rule.full)


@given(histories(), retentions, st.sampled_from(("last", "hourly", "daily", "weekly", "monthly", "yearly")))
def test_no_number_keeps_more_than_it_says_beside_what_others_need(
    backups: list[Backup], rule: Retention, name: str
) -> None:
    chosen = [verdict for verdict in judge(backups, rule) if verdict.why.startswith(f"{name} ")]
    assert len(chosen) <= getattr(rule, name)


@given(retentions)
def test_a_retention_reads_back_as_it_was_written(rule: Retention) -> None:
    assert Retention.parse(str(rule)) == rule
