"""Which backups are kept, and whether the next one is a full one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pvc_core.model.backup import Backup, Retention, Verdict

BROKEN = "cannot be restored: it needs {}, which is not there; remove it by hand"

# The period that each number counts, in the order in which they are applied. ``last`` counts the backups themselves.
_PERIODS: Mapping[str, Callable[[datetime], str]] = {
    "hourly": lambda time: time.strftime("%Y-%m-%d %H:00"),
    "daily": lambda time: time.strftime("%Y-%m-%d"),
    "weekly": lambda time: "{}-W{:02}".format(*time.isocalendar()[:2]),
    "monthly": lambda time: time.strftime("%Y-%m"),
    "yearly": lambda time: time.strftime("%Y"),
}


def judge(backups: Iterable[Backup], retention: Retention) -> list[Verdict]:
    """What becomes of each backup of one machine, the newest first. A backup is kept when the retention asks for it or
    when one that is kept is restored from it; one that could not be restored is not counted, nor touched."""
    known = {backup.name: backup for backup in backups}
    newest_first = sorted(known.values(), key=lambda backup: (backup.time, backup.name), reverse=True)
    why = {backup.name: BROKEN.format(missing) for backup in newest_first if (missing := _missing(backup, known))}
    whole = [backup for backup in newest_first if backup.name not in why]
    if retention == Retention():
        why |= {backup.name: "everything is kept" for backup in whole}
    elif retention.full:
        why |= _with_fulls(whole, known, retention.full)
    else:
        why |= _by_periods(whole, retention)
    for backup in whole:  # a parent may be any number of steps away
        if backup.name in why:
            for ancestor in chain(backup, known)[1:]:
                why.setdefault(ancestor.name, f"{backup.name} needs it")
    return [Verdict(backup, backup.name in why, why.get(backup.name, "")) for backup in newest_first]


def next_is_full(backups: Iterable[Backup], full_interval: int) -> bool:
    """Whether the next backup is to be a full one, of which there is one in ``full_interval`` backups."""
    known = {backup.name: backup for backup in backups}
    usable = sorted(
        (backup for backup in known.values() if not _missing(backup, known)), key=lambda backup: backup.time
    )
    since_full = 0
    for backup in usable:
        since_full = 1 if not backup.parent else since_full + 1
    return not since_full or since_full >= full_interval


def surplus(snapshots: Mapping[str, tuple[int, float]], keep: int, needed: str) -> list[str]:
    """The names of the snapshots, each with its place in their order, that are not among the newest ``keep``; never the
    one that is needed."""
    newest_first = sorted(snapshots, key=lambda name: (snapshots[name], name), reverse=True)
    return [name for name in newest_first[keep:] if name != needed]


def chain(backup: Backup, known: Mapping[str, Backup]) -> list[Backup]:
    """The backup and all that it is restored from, as far as they are there: the full one last."""
    found = [backup]
    while (parent := known.get(found[-1].parent)) is not None and parent not in found:
        found.append(parent)
    return found


def _missing(backup: Backup, known: Mapping[str, Backup]) -> str:
    """The name of what a backup would be restored from and is not there; empty when nothing is missing."""
    return chain(backup, known)[-1].parent


def _with_fulls(whole: Sequence[Backup], known: Mapping[str, Backup], count: int) -> dict[str, str]:
    kept = [backup.name for backup in whole if not backup.parent][:count]
    return {
        backup.name: f"full backup {1 + kept.index(full)} of {count}"
        if backup.name == full
        else f"belongs to the full backup {full}"
        for backup in whole
        if (full := chain(backup, known)[-1].name) in kept
    }


def _by_periods(whole: Sequence[Backup], retention: Retention) -> dict[str, str]:
    why = {
        backup.name: f"last {number} of {retention.last}" for number, backup in enumerate(whole[: retention.last], 1)
    }
    for name, period in _PERIODS.items():
        covered = {period(_utc(backup)) for backup in whole if backup.name in why}
        chosen: set[str] = set()
        for backup in whole:
            this = period(_utc(backup))
            if len(chosen) == getattr(retention, name):
                break
            if backup.name not in why and this not in covered | chosen:
                chosen.add(this)
                why[backup.name] = f"{name} {len(chosen)} of {getattr(retention, name)}: newest of {this}"
    return why


def _utc(backup: Backup) -> datetime:
    return datetime.fromtimestamp(backup.time, UTC)
