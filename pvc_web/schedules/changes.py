"""Making, changing and removing what the schedules consist of, with the audit of who did it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from rest_framework.request import Request

from pvc_core.errors import BadRequest, Conflict
from pvc_web.database.names import Named
from pvc_web.tasks.models import Audit


def create(request: Request, kind: type[Named], name: str, fields: Mapping[str, Any]) -> Named:
    """Raises BadRequest naming each field that is wrong, and Conflict when the name is taken."""
    if kind._default_manager.filter(name=name).exists():
        raise Conflict(f"there is a {kind._meta.verbose_name} {name!r} already")
    return _save(request, kind(name=name), fields, "create")


def modify(request: Request, thing: Named, fields: Mapping[str, Any]) -> Named:
    """Change these fields and leave the others. Raises BadRequest naming each field that is wrong."""
    return _save(request, thing, fields, "modify")


def remove(request: Request, thing: models.Model) -> None:
    with transaction.atomic():
        _audit(request, thing, "remove", ())
        thing.delete()


def _save(request: Request, thing: Named, fields: Mapping[str, Any], verb: str) -> Named:
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        setattr(thing, name, list(value) if isinstance(value, tuple) else value)
    try:
        thing.full_clean()
        with transaction.atomic():
            thing.save()
            _audit(request, thing, verb, tuple(given))
    except ValidationError as error:
        raise BadRequest("; ".join(_say(name, texts) for name, texts in error.message_dict.items())) from None
    except IntegrityError:
        raise Conflict(f"{thing} was made by another a moment ago") from None
    return thing


def _say(name: str, texts: list[str]) -> str:
    return " ".join(texts) if name == "__all__" else f"{name}: {' '.join(texts)}"


def _audit(request: Request, thing: models.Model, verb: str, fields: tuple[str, ...]) -> None:
    """Which fields were set, and not to what: some hold secrets."""
    Audit.objects.create(
        user=request.user.username,
        origin=request.META.get("REMOTE_ADDR", ""),
        action=f"{thing._meta.model_name}.{verb}",
        subject=str(thing),
        arguments={"fields": sorted(fields)},
    )
