"""Time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. ``now`` may jump when an administrator sets the clock; ``monotonic`` never does."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        ...
