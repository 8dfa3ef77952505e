"""What the names of objects may be, in every kind of store."""

from __future__ import annotations

from pvc_core.errors import BadRequest

UNFINISHED = ".pvc-unfinished-"  # begins the names of files that are being written


def check_name(name: str) -> str:
    """The name. Raises BadRequest for one that would lead elsewhere."""
    if not name or name.startswith("/") or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise BadRequest(f"{name!r} cannot be the name of an object")
    return name
