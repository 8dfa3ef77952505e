"""The blocks of one volume as another cluster sends them, read from the connection straight into the image."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rest_framework.request import Request

from pvc_core.errors import Busy, Forbidden, NotFound, Stale, Unavailable
from pvc_core.model.mirror import Transfer
from pvc_core.model.task import Role
from pvc_core.ops.common import volume_lock
from pvc_core.ops.receiving import require_room
from pvc_core.state import records
from pvc_core.state.cluster import Entry
from pvc_core.state.records import Lock
from pvc_core.transfer.frames import Damaged
from pvc_web.accounts.models import Token, User
from pvc_web.config import cluster

CHECK_INTERVAL = 2.0  # seconds between two looks at whether the stream may go on
SILENCE = 60.0  # seconds without a byte after which the sender is taken for gone
RECEIVE = 256 << 10  # bytes that are taken from the connection in one call; gunicorn's own 8 KiB cost as much each


class Body:
    """The body of a request as it comes, of known length or in chunks."""

    def __init__(self, request: Request) -> None:
        meta = request.META
        body = meta["wsgi.input"]
        if "gunicorn.socket" in meta:
            meta["gunicorn.socket"].settimeout(SILENCE)
        self._parts = _parts(body)
        self._left = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none only at the end. Raises Damaged when the connection broke off."""
        try:
            self._left = self._left or memoryview(next(self._parts, b""))
        except (OSError, ValueError) as error:  # gunicorn's errors of a body that is no body are both
            raise Damaged(f"the connection broke off ({type(error).__name__})") from None
        part, self._left = self._left[:size], self._left[size:]
        return bytes(part)


def _parts(body: Any) -> Iterator[bytes]:
    """A body in parts as they come. gunicorn's own ``read`` copies each of them several times, but within it is an
    iterator over the parts of a body that comes in chunks."""
    reader = getattr(body, "reader", body)
    unreader = getattr(getattr(reader, "req", reader), "unreader", None)
    if unreader is not None:
        unreader.mxchunk = RECEIVE
    return getattr(reader, "parser", None) or iter(lambda: reader.read(RECEIVE), b"")


@contextmanager
def locked(volume: str, transfer: Transfer) -> Iterator[Callable[[], None]]:
    """Hold the lock of a volume here for a transfer; answers a check that it is still held. Raises Busy."""
    state = cluster.state()
    key, lock = records.lock(volume_lock(volume)), Lock(transfer.id)
    session = state.store.owner
    try:
        state.transaction().create(key, lock, ephemeral=True).commit()
    except Stale:
        raise Busy(f"volume {volume} is in use by another stream or task; try again when that has ended") from None

    def check() -> None:
        if not cluster.connection().connected or state.store.owner != session:
            raise Unavailable("the lock of the volume is lost: ZooKeeper cannot be reached")

    try:
        yield check
    finally:
        if state.store.owner == session:  # else it went with its session
            with suppress(Stale, Unavailable):
                state.transaction().delete(Entry(key, lock, 0)).commit()


class Guard:
    """Whether a stream may go on: its token, its transfer, and room where it is written."""

    def __init__(self, request: Request, transfer: Transfer, lock: Callable[[], None]) -> None:
        self._user: Any = request.user
        self._token = request.auth
        self._transfer = transfer
        self._lock = lock
        self._next = 0.0

    def check(self) -> None:
        """Called with each block; raises what ends the stream."""
        self._lock()
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHECK_INTERVAL
        if not self._may():
            raise Forbidden("the API key was revoked, or its user may no longer do this")
        known = cluster.view().snapshot().transfers.get(self._transfer.vm)
        if known is None or known.id != self._transfer.id:
            raise NotFound(f"snapshot {self._transfer.snapshot} is no longer being received")
        require_room(cluster.blocks(), self._transfer, cluster.config().ceph.full_ratio)

    def _may(self) -> bool:
        if isinstance(self._token, Token):
            user = User.objects.filter(tokens__in=Token.objects.valid().filter(pk=self._token.pk)).first()
        else:
            user = User.objects.filter(pk=self._user.pk).first()
        return user is not None and user.may(Role.ADMINISTRATOR)
