"""Changes of what is known of other clusters, each with its row of the audit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from rest_framework.request import Request

from pvc_core.errors import Conflict
from pvc_web.accounts.models import User
from pvc_web.config import cluster
from pvc_web.database.names import find
from pvc_web.peers.models import Peer
from pvc_web.tasks.models import Audit
from pvc_web.tasks.service import redacted


def add(request: Request, fields: Mapping[str, Any]) -> Peer:
    """Raises Conflict when the name is taken."""
    try:
        with transaction.atomic():
            peer = Peer.objects.create(**fields)
            _audit(request, "peer.add", peer, fields)
    except IntegrityError:
        raise Conflict(f"there is a peer {fields['name']!r} already: modify it, or take another name") from None
    return peer


def modify(request: Request, name: str, fields: Mapping[str, Any]) -> Peer:
    """Raises NotFound."""
    with transaction.atomic():
        peer = find(Peer, name)
        for field, value in fields.items():
            setattr(peer, field, value)
        peer.save()
        _audit(request, "peer.modify", peer, fields)
    return peer


def remove(request: Request, name: str) -> None:
    """Raises NotFound, and Conflict while a machine is mirrored there."""
    snapshot = cluster.view().snapshot()
    mirrored = sorted(
        snapshot.vms[uuid].vm.name if uuid in snapshot.vms else uuid
        for uuid, mirror in snapshot.mirrors.items()
        if mirror.peer == name
    )
    if mirrored:
        raise Conflict(f"VM {', '.join(mirrored)} is mirrored with peer {name}: end that first")
    with transaction.atomic():
        peer = find(Peer, name)
        _audit(request, "peer.remove", peer, {})
        peer.delete()


def for_uri(request: Request, api_uri: str, token: str, verify_ssl: bool) -> Peer:
    """The peer of that address, with this token from now on; a new one, named after its host, where there is none."""
    fields = {"api_uri": api_uri, "token": token, "verify_ssl": verify_ssl}
    known = Peer.objects.filter(api_uri=api_uri).first()
    if known is None:
        return add(request, fields | {"name": _name(api_uri)})
    if (known.token, known.verify_ssl) == (token, verify_ssl):
        return known
    return modify(request, known.name, fields)


def destination(request: Request, name: str, parameters: Mapping[str, Any]) -> str:
    """The name of the peer that a request means: this one, or that of the address in it, whose new token is kept.
    Raises NotFound."""
    if not parameters["destination_api_uri"]:
        return find(Peer, name).name
    return for_uri(
        request,
        parameters["destination_api_uri"],
        parameters["destination_api_key"],
        parameters["destination_api_verify_ssl"],
    ).name


def _name(api_uri: str) -> str:
    """A free name for the cluster there, which does not change when another one is added or removed."""
    host = (urlsplit(api_uri).hostname or "").replace(":", "-").strip("-.")[:80]
    if not Peer.objects.filter(name=host).exists():
        return host
    return f"{host}-{hashlib.sha256(api_uri.encode()).hexdigest()[:8]}"


def _audit(request: Request, action: str, peer: Peer, fields: Mapping[str, Any]) -> None:
    user, origin = cast(User, request.user), request.META.get("REMOTE_ADDR", "")
    Audit.objects.create(
        user=user.username, origin=origin, action=action, subject=peer.name, arguments=redacted(fields)
    )
