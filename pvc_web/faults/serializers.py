"""Arguments of the calls on faults."""

from __future__ import annotations

from enum import StrEnum

from pvc_web.api.parameters import EnumField, PageParameters, PatternField


class SortKey(StrEnum):
    """What faults may be sorted by."""

    FIRST_REPORTED = "first_reported"
    LAST_REPORTED = "last_reported"
    ACKNOWLEDGED_AT = "acknowledged_at"
    STATUS = "status"
    HEALTH_DELTA = "health_delta"
    MESSAGE = "message"


class FaultListParameters(PageParameters):
    sort_key = EnumField(SortKey, default=SortKey.LAST_REPORTED, help_text="What to sort by, the smallest first")
    limit = PatternField(help_text="Part of the id or of the message, as a regular expression")
