"""Every error as ``{"message": ..., "code": ...}`` with the right status."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import set_rollback

from pvc_core.errors import Failed, PvcError, Unavailable
from pvc_web.api.answers import json_answer
from pvc_web.api.schema import ErrorMessage
from pvc_web.database.reads import READS, DatabaseLost

log = logging.getLogger(__name__)

_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}


def handle(error: Exception, context: dict[str, Any]) -> HttpResponse:
    """DRF's exception handler. What was not raised on purpose is logged with its trace, and answers 500 without it."""
    set_rollback()
    if isinstance(error, PvcError):
        left = error.left if isinstance(error, Failed) else ()
        return json_answer(ErrorMessage(message=error.message, code=error.code, left=left), error.status)
    if isinstance(error, Http404):
        return unknown_path(context["request"], error)
    if isinstance(error, (SuspiciousOperation, UnreadablePostError)):  # too large, too many fields, broken off
        return json_answer(ErrorMessage(message=f"the body cannot be read: {error}", code="bad_request"), 400)
    if isinstance(error, (OperationalError, InterfaceError)):
        log.error("%s: the database does not answer: %s", context["request"].path, " ".join(str(error).split()))
        return _database_lost(context["request"])
    if isinstance(error, PermissionDenied):
        return json_answer(ErrorMessage(message="you may not do this", code="forbidden"), 403)
    if isinstance(error, exceptions.APIException):
        return _framework_error(error)
    log.error("%s broke off", context["request"].path, exc_info=error)
    message = f"internal error ({type(error).__name__}); the server's log has the details"
    return json_answer(ErrorMessage(message=message, code="internal"), 500)


def unknown_path(request: HttpRequest | Request, exception: Exception) -> HttpResponse:  # noqa: ARG001
    """Django's answer to a path that no view serves."""
    return json_answer(ErrorMessage(message=f"there is nothing at {request.path}", code="not_found"), 404)


def broken(request: HttpRequest) -> HttpResponse:
    """Django's answer where something other than a view of the API raised an error: a page, a session."""
    error = sys.exc_info()[1]
    assert isinstance(error, Exception)
    return handle(error, {"request": request})


def _database_lost(request: HttpRequest | Request) -> HttpResponse:
    advice = "try again in a few seconds"
    if request.method not in READS:
        advice = "what was asked for may have been accepted all the same, so look at the tasks before you ask again"
    error = ErrorMessage(message=f"the database does not answer; {advice}", code=Unavailable.code)
    return DatabaseLost(msgspec.json.encode(error), content_type="application/json")


def _framework_error(error: exceptions.APIException) -> HttpResponse:
    message = "; ".join(_sentences(error.detail))
    code = _CODES.get(error.status_code, error.default_code)
    answer = json_answer(ErrorMessage(message=message, code=code), error.status_code)
    challenge = getattr(error, "auth_header", None)  # set by APIView for answers of status 401
    if challenge:
        answer["WWW-Authenticate"] = challenge
    return answer


def _sentences(detail: Any, argument: str = "") -> Iterator[str]:
    """The sentences in the details of a framework's error, each with the argument that it is about."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _sentences(inner, "" if name == "non_field_errors" else str(name))
    elif isinstance(detail, list):
        for inner in detail:
            yield from _sentences(inner, argument)
    else:
        yield f"{argument}: {detail}" if argument else str(detail)
