"""Who is calling: a token in the header ``X-Api-Key``, or a session of the browser."""

from __future__ import annotations

from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from pvc_web.accounts.models import Token, User

HEADER = "X-Api-Key"
SESSION_TOKEN = "token"  # the session's key under which the token lies that opened it

# One sentence for every reason: a caller without a valid token learns nothing about those that there are.
REFUSAL = "the API key is wrong, expired or revoked"


class TokenAuthentication(authentication.BaseAuthentication):
    """A header that is there and does not hold a valid token is refused, whatever else the request carries."""

    def authenticate(self, request: Request) -> tuple[User, Token] | None:
        text = self._shown(request)
        if text is None:
            return None
        token = Token.objects.verify(text)
        if token is None:
            raise AuthenticationFailed(REFUSAL)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return HEADER

    def _shown(self, request: Request) -> str | None:
        return request.headers.get(HEADER)


class BearerAuthentication(TokenAuthentication):
    """The same token as RFC 6750 has it, for programs that know no other way: ``Authorization: Bearer TOKEN``."""

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002
        return "Bearer"

    def _shown(self, request: Request) -> str | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        return text.strip() if scheme.lower() == "bearer" else None


class SessionAuthentication(authentication.SessionAuthentication):
    """A session that was opened with a token ends with that token."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        found = super().authenticate(request)
        token = request._request.session.get(SESSION_TOKEN)
        if found is not None and token is not None and not Token.objects.valid().filter(pk=token).exists():
            request._request.session.flush()
            raise AuthenticationFailed(REFUSAL)
        return found
