"""What the OpenAPI document says beside the declarations of the views: the names of calls, and how callers show who
they are. Importing this module registers the latter."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from pvc_web.accounts.authentication import HEADER


class ViewSchema(AutoSchema):
    """Names each call after its view and method."""

    def get_operation_id(self) -> str:
        view = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self.view).__name__)
        return f"{view}_{self.method}".lower()


class TokenScheme(OpenApiAuthenticationExtension):
    """The header that carries a token."""

    target_class = "pvc_web.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "apiKey", "in": "header", "name": HEADER}


class BearerScheme(OpenApiAuthenticationExtension):
    """The same as a bearer token."""

    target_class = "pvc_web.accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer"}


class BrowserSessionScheme(SessionScheme):
    """The cookie of a browser's session."""

    target_class = "pvc_web.accounts.authentication.SessionAuthentication"
    name = "session"
