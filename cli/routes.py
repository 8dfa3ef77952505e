"""Paths of the API. Apart from the client, so that showing help does not import it."""

from __future__ import annotations

from urllib.parse import quote


def route(*parts: object) -> str:
    """Path of a resource of the API from its parts, each quoted as a whole."""
    return "/api/v1/" + "/".join(quote(str(part), safe="") for part in parts)
