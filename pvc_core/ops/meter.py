"""Progress in bytes."""

from __future__ import annotations

from pvc_core.ops.base import Run

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Meter:
    """Tells of the bytes that move within the present step of a run: how many, how fast, how long it will go on."""

    def __init__(self, run: Run, total: int) -> None:
        self._run = run
        self._total = total
        self._done = 0
        self._began = run.tools.clock.monotonic()

    def add(self, count: int) -> None:
        """So many more bytes have moved."""
        self._done += count
        self._run.part(self._done, self._total, self._details())

    def reach(self, done: int, total: int) -> None:
        """``done`` bytes have moved so far."""
        self.add(done - self._done)

    def _details(self) -> str:
        details = f"{readable(self._done)} of {readable(self._total)}"
        spent = self._run.tools.clock.monotonic() - self._began
        if spent < 1 or not self._done:
            return details
        left = max(0.0, spent * (self._total - self._done) / self._done)
        return f"{details}, {readable(self._done / spent)}/s, {_duration(left)} left"


def readable(size: float) -> str:
    """A number of bytes for a person."""
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.0f} {_UNITS[power]}" if power == 0 or size >= 100 else f"{size:.1f} {_UNITS[power]}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
