"""How callers show who they are, for the OpenAPI document. Importing this module registers it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension

from pvc_web.accounts.authentication import HEADER


class TokenScheme(OpenApiAuthenticationExtension):
    """The header that carries a token."""

    target_class = "pvc_web.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "apiKey", "in": "header", "name": HEADER}


class BrowserSessionScheme(SessionScheme):
    """The cookie of a browser's session."""

    target_class = "pvc_web.accounts.authentication.SessionAuthentication"
    name = "session"
