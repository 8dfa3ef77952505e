"""The base of all views of the API: who may call, which arguments, which answer, said once for each method."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from pvc_core.errors import BadRequest
from pvc_core.model.task import Role
from pvc_core.ops.base import Operation
from pvc_web.accounts.models import User
from pvc_web.api.parameters import Parameters
from pvc_web.api.schema import ErrorMessage, TaskMessage, answer_schema

Handler = Callable[..., HttpResponse]

_REFUSALS = {
    400: "An argument is wrong, or missing",
    401: "No credentials, or wrong, expired or revoked ones",
    403: "Not allowed with this role",
    404: "What the path names does not exist",
    409: "Contradicts the present state, or something else is at work on it",
    503: "A part that this needs does not answer now",
}


@dataclass(frozen=True)
class Endpoint:
    """What is declared of one method of a view."""

    role: Role
    takes: type[Parameters] | None


class HasRole(BasePermission):
    """The caller is known and its role suffices. A method that declares nothing is closed to everyone."""

    message = "your role does not allow this"

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        handler = getattr(view, (request.method or "").lower(), None)
        if handler is None or request.method == "OPTIONS":
            return True  # 405, or what a method takes: nothing of the cluster
        endpoint: Endpoint | None = getattr(handler, "endpoint", None)
        return endpoint is not None and cast(User, request.user).may(endpoint.role)


class AlwaysJson(DefaultContentNegotiation):
    """Answers are JSON whatever the Accept header says: so do the clients of this API expect it."""

    def select_renderer(
        self,
        request: Request,  # noqa: ARG002
        renderers: Any,
        format_suffix: str | None = None,  # noqa: ARG002
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    permission_classes = (HasRole,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJson
    longest_body = 4 << 20  # bytes that are taken into memory at once; the XML of a machine has far fewer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length > self.longest_body:
            raise BadRequest(f"the body has {length} bytes, and may have {self.longest_body}")


def reads(
    answer: Any, summary: str, *, takes: type[Parameters] | None = None, empty: str = "", media: str = ""
) -> Callable[[Handler], Handler]:
    """Declare a method that only looks. ``answer`` is a ``Document`` class, or a list of one; ``empty`` says when it
    answers 204 instead, ``media`` of which type the answer is where it is not JSON."""
    found: Any = (200, media) if media else 200
    responses: dict[Any, Any] = {found: OpenApiResponse(answer_schema(answer), summary)}
    if empty:
        responses[204] = OpenApiResponse(description=empty)
    return _declare(Endpoint(Role.VIEWER, takes), summary, responses)


def writes(
    *operations: type[Operation], summary: str, takes: type[Parameters] | None = None, status: int = 200
) -> Callable[[Handler], Handler]:
    """Declare a method that sends one of ``operations``, whose roles are also those of the call. ``status`` is that of
    the documented answer: 200 for one that waits, 202 for one that does not."""
    role = min(operation.role for operation in operations)
    answer = answer_schema(TaskMessage)
    responses: dict[Any, Any] = {202: OpenApiResponse(answer, "Accepted; the task goes on")}
    if status == 200:
        responses[200] = OpenApiResponse(answer, "Done")
    return _declare(Endpoint(role, takes), summary, responses)


def acts(
    answer: Any, role: Role, *, summary: str, takes: type[Parameters] | None = None
) -> Callable[[Handler], Handler]:
    """Declare a method that changes something at once, without an operation of its own."""
    return _declare(Endpoint(role, takes), summary, {200: OpenApiResponse(answer_schema(answer), summary)})


def _declare(endpoint: Endpoint, summary: str, responses: dict[Any, Any]) -> Callable[[Handler], Handler]:
    error = answer_schema(ErrorMessage)
    described = responses | {status: OpenApiResponse(error, text) for status, text in _REFUSALS.items()}

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def call(view: ApiView, request: Request, **path: Any) -> HttpResponse:
            if endpoint.takes is not None:
                path["parameters"] = endpoint.takes.read(request)
            return handler(view, request, **path)

        call.endpoint = endpoint  # type: ignore[attr-defined]
        in_body = handler.__name__ in ("post", "put")
        return extend_schema(
            summary=summary,
            description=f"Needs the role {endpoint.role.name.lower()}.",
            parameters=[endpoint.takes] if endpoint.takes and not in_body else [],
            request=endpoint.takes if in_body else None,
            responses=described,
        )(call)

    return decorate
