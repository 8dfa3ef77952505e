"""Requests that only look, made to succeed when the database's leader dies under them."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection
from django.http import HttpRequest, HttpResponse

READS = ("GET", "HEAD")


class DatabaseLost(HttpResponse):
    """The answer to a request during which the database did not answer."""

    status_code = 503


class RepeatReads:
    """Middleware, the outermost: what lost the database's answer and changes nothing is done once more, from the start
    and on a new connection."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if isinstance(response, DatabaseLost) and request.method in READS:
            connection.close()
            response = self._get_response(request)
        return response
