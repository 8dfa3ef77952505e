"""Time that moves only when a test moves it."""

from __future__ import annotations

from pvc_core.errors import BadRequest


class FakeClock:
    """Stands still at ``start`` (seconds since the epoch) until ``advance`` or ``jump`` is called."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if seconds < 0:
            raise BadRequest(f"time does not go back: {seconds}")
        self._now += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; no time passes."""
        self._now += seconds
