"""A part that may fail for a while and come back."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Trouble:
    """Logs when the part begins to fail, when the reason changes, and when it is well again; not in between.

    ``message`` is the present reason, empty while the part is well.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self.message = ""

    def begin(self, reason: object) -> None:
        message = str(reason)
        if message != self.message:
            log.warning("%s: %s => failing: %s", self._part, "failing" if self.message else "well", message)
        self.message = message

    def end(self) -> None:
        if self.message:
            log.info("%s: failing => well: it answers again", self._part)
        self.message = ""
