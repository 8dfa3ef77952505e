"""The names of images, also where a client died while it made, renamed or removed one.

An image is listed in the directory of its pool and has an object of its own that leads from its name to it. Making one
writes first the entry, then this object, then the image. Renaming makes the object of the new name, turns the entry,
and removes the object of the old one. Removing takes the image away first, and the entry last.
"""

from __future__ import annotations

from contextlib import suppress

import rados
import rbd


def is_taken(context: rados.Ioctx, name: str) -> bool:
    """Whether an image bears the name."""
    return is_listed(context, name) and _opens(context, name)


def is_listed(context: rados.Ioctx, name: str) -> bool:
    """Whether the pool's directory has the name. A name that only a killed rename left opens an image as well."""
    return name in rbd.RBD().list(context)


def clear(context: rados.Ioctx, name: str) -> None:
    """Clear away what a client that died left under this name. An image that bears it is not touched."""
    if not is_listed(context, name):
        # Of a rename, and it may lead to a whole image, whose name is another one: this object alone has to go.
        with suppress(rados.ObjectNotFound):
            context.remove_object(f"rbd_id.{name}")
    elif not _opens(context, name):
        rbd.RBD().remove(context, name)


def _opens(context: rados.Ioctx, name: str) -> bool:
    try:
        rbd.Image(context, name, read_only=True).close()
    except rbd.ImageNotFound:
        return False
    return True
