"""How lists are narrowed down."""

from __future__ import annotations

import re
from collections.abc import Iterable


def matches(pattern: re.Pattern[str] | None, texts: Iterable[str]) -> bool:
    """Whether the pattern is found in any of the texts; without a pattern everything matches."""
    return pattern is None or any(pattern.search(text) for text in texts)
