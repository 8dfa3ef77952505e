"""How requests are answered: documents, pages of lists, and the outcome of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from django.http import HttpResponse

from pvc_web.api.schema import Document

T = TypeVar("T")

TOTAL_HEADER = "X-Total-Count"

_encoder = msgspec.json.Encoder()


def json_answer(document: Any, status: int = 200) -> HttpResponse:
    """``document`` is anything msgspec encodes."""
    return HttpResponse(_encoder.encode(document), content_type="application/json", status=status)


def page_answer(
    entries: Sequence[T], parameters: Mapping[str, Any], document: Callable[[T], Document | msgspec.Raw]
) -> HttpResponse:
    """The asked part of a list, with the length of the whole in a header. Only that part is made into documents."""
    offset, page_size = parameters["offset"], parameters["page_size"]
    chosen = entries[offset:] if page_size is None else entries[offset : offset + page_size]
    answer = json_answer([document(entry) for entry in chosen])
    answer[TOTAL_HEADER] = str(len(entries))
    return answer
