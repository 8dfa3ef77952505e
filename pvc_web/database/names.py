"""Rows that are found by their name."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model

from pvc_core.errors import NotFound

Named = TypeVar("Named", bound=Model)


def find(kind: type[Named], name: str) -> Named:
    """Raises NotFound."""
    found = kind._default_manager.filter(name=name).first()
    if found is None:
        raise NotFound(f"there is no {kind._meta.verbose_name} {name!r}; {those_there(kind)}")
    return found


def those_there(kind: type[Model]) -> str:
    """For a message: which there are instead."""
    names = ", ".join(kind._default_manager.values_list("name", flat=True))
    return f"there are {names}" if names else "there is none yet"
