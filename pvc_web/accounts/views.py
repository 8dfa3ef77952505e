"""Sessions of the browser: opened with a token; closed by hand, or together with that token."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import login, logout
from django.http import HttpResponse
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from pvc_core.model.task import Role
from pvc_web.accounts.authentication import HEADER, REFUSAL, SESSION_TOKEN
from pvc_web.accounts.models import Token
from pvc_web.accounts.serializers import LoginParameters
from pvc_web.api.answers import json_answer
from pvc_web.api.endpoints import ApiView, acts
from pvc_web.api.schema import Message

BACKEND = "django.contrib.auth.backends.ModelBackend"


class OpenView(ApiView):
    """Open to callers without credentials, who come here to give them."""

    authentication_classes = ()
    permission_classes = (AllowAny,)


class Login(OpenView):
    def get_authenticate_header(self, request: Request) -> str:
        return HEADER

    @acts(Message, Role.VIEWER, summary="Open a session with an API key", takes=LoginParameters)
    def post(self, request: Request, *, parameters: dict[str, Any]) -> HttpResponse:
        token = Token.objects.verify(parameters["token"])
        if token is None:
            raise AuthenticationFailed(REFUSAL)
        login(request._request, token.user, backend=BACKEND)
        request.session[SESSION_TOKEN] = token.pk
        return json_answer(Message(message=f"logged in as {token.user.username}"))


class Logout(OpenView):
    @acts(Message, Role.VIEWER, summary="Close the session")
    def post(self, request: Request) -> HttpResponse:
        logout(request._request)
        return json_answer(Message(message="logged out"))
