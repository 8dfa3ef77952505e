"""Arguments of requests: from the query, a form or a JSON body alike, checked by one serializer per call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from django.http import QueryDict
from rest_framework import serializers
from rest_framework.request import Request

from pvc_core.errors import BadRequest

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTP]?)", re.IGNORECASE)
_LARGEST_SIZE = 1 << 60
_LONGEST_PATTERN = 256
_SURE = "yes-i-really-mean-it"


class FlagField(serializers.BooleanField):
    """A yes or no in any of the usual spellings."""

    default_error_messages = {"invalid": "{input!r} is neither yes nor no; use true or false"}


class EnumField(serializers.ChoiceField):
    """One value of an enumeration; answers its member."""

    default_error_messages = {"invalid_choice": "{input!r} is not known; use one of {values}"}

    def __init__(self, enum: type[StrEnum], *, only: tuple[StrEnum, ...] = (), **options: Any) -> None:
        self.enum = enum
        self.values = [member.value for member in only or tuple(enum)]
        super().__init__(choices=self.values, **options)

    def to_internal_value(self, data: Any) -> StrEnum:
        if data not in self.values:
            self.fail("invalid_choice", input=data, values=", ".join(self.values))
        return self.enum(data)


class SizeField(serializers.CharField):
    """A size in bytes, or with a suffix that counts in powers of 1024; answers bytes."""

    default_error_messages = {
        "size": "{input!r} is not a size; give bytes, or a number with the suffix k, M, G or T, such as 20G",
        "range": "{input!r} is out of range; a size is at least 1 byte and at most 1024P",
    }

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        match = _SIZE.fullmatch(str(data).strip())
        if match is None:
            self.fail("size", input=data)
        number, unit = match.groups()
        size = int(number) if not unit and "." not in number else int(float(number) * _UNITS[unit.upper()])
        if not 1 <= size <= _LARGEST_SIZE:
            self.fail("range", input=data)
        return size


class CsvField(serializers.ListField):
    """Several words: separated by commas, given repeatedly, or a JSON list; answers a tuple."""

    child = serializers.CharField()

    def __init__(self, *, default: tuple[str, ...] | None = (), **options: Any) -> None:
        super().__init__(required=False, default=lambda: default, **options)

    def to_internal_value(self, data: Any) -> tuple[str, ...]:  # type: ignore[override]
        given = data if isinstance(data, list) else [data]
        words = (word.strip() for value in given for word in str(value).split(","))
        return tuple(dict.fromkeys(word for word in words if word))


class PatternField(serializers.CharField):
    """A regular expression that may match anywhere unless it is anchored by ^ or $; answers it compiled."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, default=None, **options)

    def to_internal_value(self, data: Any) -> re.Pattern[str]:  # type: ignore[override]
        text = super().to_internal_value(data)
        if len(text) > _LONGEST_PATTERN:
            raise serializers.ValidationError(f"a pattern has at most {_LONGEST_PATTERN} characters")
        try:
            return re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise serializers.ValidationError(f"{text!r} is not a regular expression: {error}") from None


class Parameters(serializers.Serializer[Any]):
    """Base of the arguments of a call. Arguments that it does not name are ignored, as PVC always did."""

    # A field's ``source`` is what the operation calls it, where that is another name; the document does not show it.

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The checked arguments. Raises ValidationError naming each argument that is wrong."""
        if not isinstance(request.data, dict):
            raise BadRequest("the body must be a JSON object of arguments by name")
        return cls.check(request.query_params, request.data)

    @classmethod
    def check(cls, *sources: dict[str, Any]) -> dict[str, Any]:
        """The same for arguments from these sources, of which the later ones win."""
        serializer = cls(data={})
        serializer.initial_data = _merge(serializer.fields, sources)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


def _merge(fields: Mapping[str, Any], sources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The arguments for these fields as one plain mapping. An empty argument counts as not given, except where empty
    means something: a list, or a text that may be blank."""
    merged: dict[str, Any] = {}
    for name, field in fields.items():
        several = isinstance(field, serializers.ListField)
        for source in sources:
            if name not in source:
                continue
            if several and isinstance(source, QueryDict):
                merged[name] = source.getlist(name)
            elif several or source[name] != "" or getattr(field, "allow_blank", False):
                merged[name] = source[name]
    return {name: value for name, value in merged.items() if value is not None}


class SureParameters(Parameters):
    """For what destroys more than one thing at once. The argument's name is no Python identifier."""

    lost = "all data of it"

    def get_fields(self) -> dict[str, Any]:
        sure = FlagField(required=False, default=False, help_text=f"Must be true: {self.lost} is lost")
        return super().get_fields() | {_SURE: sure}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs[_SURE]:
            raise serializers.ValidationError({_SURE: f"must be true, since {self.lost} is lost"})
        return attrs


class PageParameters(Parameters):
    """Arguments of every list: a part of it, for clusters with more than a page shows."""

    offset = serializers.IntegerField(min_value=0, default=0, help_text="Entries to leave out at the start")
    page_size = serializers.IntegerField(
        min_value=1, max_value=100_000, default=None, help_text="The most entries to answer with; all unless given"
    )
