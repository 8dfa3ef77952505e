"""Work that was asked for: who may ask, which lane carries it, how it ends."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Role(IntEnum):
    """What a user may do; each includes the ones before it."""

    VIEWER = 1  # sees everything but secrets
    OPERATOR = 2  # starts, stops, moves and attaches what is there
    ADMINISTRATOR = 3  # creates and removes


class Lane(StrEnum):
    """Two lanes a node, so that a long copy never delays the start of a machine."""

    CONTROL = "control"  # seconds
    BULK = "bulk"  # transfers, imports, evacuations


class TaskState(StrEnum):
    QUEUED = "queued"  # accepted; not begun
    RUNNING = "running"  # claimed by one worker
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # what could not be undone is listed with it
    CANCELLED = "cancelled"  # before it began, or at a step, with what it had done undone

    @property
    def ended(self) -> bool:
        return self not in (TaskState.QUEUED, TaskState.RUNNING)
