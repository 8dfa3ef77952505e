"""Arguments of the calls on other clusters."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from rest_framework import serializers

from pvc_web.api.parameters import FlagField, Parameters, SizeField

API_PATH = "/api/v1"


class ApiUriField(serializers.CharField):
    """Where the API of a cluster is; answers it with the path of the API."""

    default_error_messages = {"form": "{input!r} is not of the form https://HOST:PORT/api/v1"}

    def to_internal_value(self, data: Any) -> str:
        text = str(data).strip().rstrip("/")
        try:
            parts = urlsplit(text)
            wrong = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port or 1) < 1
        except ValueError:
            wrong = True
        if wrong or parts.username or parts.query or parts.fragment or not text.isascii() or not text.isprintable():
            self.fail("form", input=f"{parts.scheme}://..." if not wrong and parts.username else data)
        return text if parts.path else text + API_PATH


class TokenField(serializers.CharField):
    """A token; what is wrong with it is said without it."""

    default_error_messages = {"form": "a token is one word of visible ASCII characters"}

    def to_internal_value(self, data: Any) -> str:
        text = str(data).strip()
        if not text.isascii() or not text.isprintable() or " " in text:
            self.fail("form")
        return text


class BandwidthField(SizeField):
    """A size, or 0."""

    def to_internal_value(self, data: Any) -> int:  # type: ignore[override]
        return 0 if str(data).strip() == "0" else super().to_internal_value(data)


_POOL = "Pool of the copies there; empty: pools of the same names"
_LIMIT = "The most bytes a second that are sent, also with the suffix k, M or G; 0: no limit"


class PeerModifyParameters(Parameters):
    api_uri = ApiUriField(required=False, default=None, help_text="Such as https://west.example.com:7370/api/v1")
    token = TokenField(required=False, default=None, help_text="A token of that cluster, of an administrator there")
    verify_ssl = FlagField(
        required=False, default=None, allow_null=True, help_text="Whether its certificate must be valid"
    )
    pool = serializers.CharField(required=False, default=None, allow_blank=True, help_text=_POOL)
    bandwidth = BandwidthField(required=False, default=None, help_text=_LIMIT)


class PeerAddParameters(Parameters):
    name = serializers.RegexField(
        r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}$",
        help_text="What the other cluster is called here, of letters, digits, . _ and -",
    )
    api_uri = ApiUriField(help_text="Such as https://west.example.com:7370/api/v1")
    token = TokenField(help_text="A token of that cluster, of an administrator there")
    verify_ssl = FlagField(default=True, help_text="Whether its certificate must be valid")
    pool = serializers.CharField(default="", allow_blank=True, help_text=_POOL)
    bandwidth = BandwidthField(required=False, default=0, help_text=_LIMIT)
