"""Shapes of the answers, said once: encoded by msgspec, and shown in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Self

import msgspec

_components: dict[str, Any] = {}


class Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of every shape the API answers with. The fields are the keys of the JSON object, in this order."""

    @classmethod
    def of(cls, thing: object, **others: Any) -> Self:
        """What ``thing`` has under the same names, with ``others`` that it has not, or has otherwise."""
        names = (name for name in cls.__struct_fields__ if name not in others)
        return cls(**{name: getattr(thing, name) for name in names}, **others)


class Message(Document):
    """A sentence for a person."""

    message: str


class TaskMessage(Document):
    """The outcome of a write, or that it was accepted, with the task that does it."""

    message: str
    task_id: str
    task_name: str
    run_on: str


class ErrorMessage(Document, omit_defaults=True):
    """Why a request was refused or failed. ``code`` is stable, for programs."""

    message: str
    code: str
    left: tuple[str, ...] = ()
    task_id: str = ""
    task_name: str = ""
    run_on: str = ""


def answer_schema(answer: Any) -> dict[str, Any]:
    """JSON schema of a ``Document`` class or a list of one, as a reference into the OpenAPI document's components."""
    (schema,), components = msgspec.json.schema_components([answer], ref_template="#/components/schemas/{name}")
    _components.update(components)
    return schema


def add_documents(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Post-processing hook of drf-spectacular: the shapes that ``answer_schema`` refers to."""
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_components)
    return result
