"""Other clusters, over their REST API."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
import requests
import urllib3

from pvc_core.drivers.peers_documented import DocumentedMachine, DocumentedOffer
from pvc_core.errors import Busy, Cancelled, Conflict, DriverError, DriverUnavailable, Forbidden, NotFound, PvcError
from pvc_core.model.mirror import Lineage
from pvc_core.model.vm_snapshot import VmSnapshot
from pvc_core.ports import Incoming, Offer, Peer, PeerAccess, PeerDirectory, Word

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0  # seconds
SEND_TIMEOUT = 60.0  # seconds in which the other side takes nothing of what is sent, while its storage is busy
ANSWER_TIMEOUT = 120.0  # seconds; a call that is answered when its task has ended may take a minute
RETRY_INTERVAL = 1.0
TASK_WAIT = 30  # seconds that one look at a task waits for a change
ACCEPTED = 202
PART = 256 << 10  # bytes that are sent at once where a limit is set
HEADER = "X-Api-Key"


urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # whoever wants no certificates has said so


class HttpPeers:
    """``source`` answers our own cluster's fsid, by which the others know us. Calls but those that send
    blocks are made again for ``patience`` seconds while the other side does not answer: it may have been restarted."""

    def __init__(self, directory: PeerDirectory, source: Callable[[], str], patience: float = 0.0) -> None:
        self._directory = directory
        self._source = source
        self._patience = patience

    def names(self) -> Sequence[str]:
        return self._directory.names()

    def connect(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> Peer:
        return HttpPeer(name, self._directory.find(name), self._source, cancelled, self._patience)


class Limit:
    """A token bucket that all who send through it share: ``rate`` bytes a second, of which one second's worth is saved
    up while nothing is sent. A rate of 0 is no limit."""

    def __init__(self, rate: int, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._now = now
        self._free_at = now()
        self._lock = threading.Lock()

    def delay(self, size: int) -> float:
        """Take ``size`` bytes; the seconds to wait before they may go."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._now()
            start = max(self._free_at, now - 1.0)
            self._free_at = start + size / self._rate
            return max(0.0, start - now)


class HttpPeer:
    """See ``pvc_core.ports.Peer``. Several threads may send through one of these; each has a connection of its own."""

    def __init__(
        self,
        name: str,
        access: PeerAccess,
        source: Callable[[], str],
        cancelled: Callable[[], bool],
        patience: float,
    ) -> None:
        self._patience = patience
        self._name = name
        self._access = access
        self._source = source
        self._cancelled = cancelled
        self._limit = Limit(access.bandwidth)
        self._threads = threading.local()
        self._sessions: list[requests.Session] = []
        self._transfers: dict[str, str] = {}  # by id: their paths
        self._documented: dict[str, DocumentedOffer] = {}  # by id: those that go by the documented calls
        self._one_volume = threading.Lock()  # at a time, by those

    def begin(self, offer: Offer) -> Incoming:
        offer = replace(offer, pool=offer.pool or self._access.pool)
        try:
            self._do("POST", f"vm/{offer.vm}/transfer", {"offer": msgspec.to_builtins(offer), "source": self._source()})
        except NotFound:
            if self._own_snapshots(offer.vm) is not None:
                raise
            return self._begin_documented(offer)
        path = f"vm/{offer.vm}/transfer/{_quoted(offer.snapshot.name)}"
        incoming = self._ask(path, Incoming)
        self._transfers[incoming.id] = path
        return incoming

    def send(self, transfer: str, volume: str, position: int, parts: Iterable[bytes], since: str = "") -> int:
        if offer := self._documented.get(transfer):
            return self._send_documented(offer, volume, parts, since)
        path = f"{self._transfers[transfer]}/{_quoted(volume, safe='/')}"
        answer = self._stream("PUT", path, {"transfer": transfer, "position": str(position)}, parts)
        return _decoded(self._name, answer, Stored).position

    def positions(self, transfer: str) -> Incoming:
        if offer := self._documented.get(transfer):
            return Incoming(transfer, {disk.volume: 0 for disk in offer.offer.disks}, documented=True)
        return self._ask(self._transfers[transfer], Incoming)

    def commit(self, transfer: str) -> None:
        if offer := self._documented.get(transfer):
            arguments, body = offer.config()
            self._do("POST", f"{offer.path}/config", body, params=arguments)
            return
        self._do("POST", self._transfers[transfer], {})

    def abandon(self, transfer: str) -> None:
        if transfer in self._documented:
            raise DriverError(f"cluster {self._name} has no call by which it forgets what has come: remove it there")
        try:
            self._do("DELETE", self._transfers[transfer], {})
        except NotFound:
            return

    def snapshots(self, vm: str) -> Sequence[VmSnapshot]:
        known = self._own_snapshots(vm)
        if known is not None:
            return known
        try:
            return self._ask(f"vm/{vm}", DocumentedMachine).taken(vm)
        except NotFound:
            return ()

    def remove_snapshot(self, vm: str, snapshot: str) -> None:
        try:
            self._do("DELETE", f"vm/{vm}/snapshot", {"snapshot_name": snapshot})
        except NotFound:
            return

    def hear(self) -> Word:
        return self._ask("mirrors", Word)

    def take_over(self, vm: str, lineage: Lineage, start: bool) -> None:
        body = {"lineage": msgspec.json.encode(lineage).decode(), "start": start}
        self._do("POST", f"vm/{vm}/mirror/take-over", body)

    def forget_mirror(self, vm: str) -> None:
        try:
            self._do("DELETE", f"vm/{vm}/mirror", {})
        except NotFound:
            return

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    def _own_snapshots(self, vm: str) -> Sequence[VmSnapshot] | None:
        """None when the other side does not know our calls."""
        try:
            return self._ask(f"vm/{vm}/transfer", tuple[VmSnapshot, ...])
        except NotFound:
            return None

    def _begin_documented(self, offer: Offer) -> Incoming:
        taken = offer.snapshot
        if offer.lineage is not None:
            raise Conflict(f"cluster {self._name} takes snapshots alone, and no mirrors of this version")
        there = {one.name: one.created for one in self.snapshots(offer.vm)}
        if there.get(taken.name, int(taken.created)) != int(taken.created):
            raise Conflict(
                f"cluster {self._name} has another snapshot {taken.name} of this VM: send one of another name"
            )
        transfer = str(uuid.uuid4())
        self._documented[transfer] = DocumentedOffer(offer)
        return replace(self.positions(transfer), complete=taken.name in there)

    def _send_documented(self, offer: DocumentedOffer, volume: str, parts: Iterable[bytes], since: str) -> int:
        with self._one_volume:
            self._check_cancelled()
            method, arguments = offer.block(volume, since)
            self._stream(method, f"{offer.path}/block", arguments, parts)
            self._persist("PATCH", f"{offer.path}/block", params=offer.place(volume))
        return offer.size(volume)

    def _throttled(self, frames: Iterable[bytes]) -> Iterator[bytes]:
        """The same bytes, no faster than the limit. Raises Cancelled."""
        limit = self._access.bandwidth
        size = min(PART, max(1024, limit // 4)) if limit else 0
        for frame in frames:
            for start in range(0, len(frame), size or len(frame)):
                part = frame[start : start + size] if size else frame
                due = time.monotonic() + self._limit.delay(len(part))
                while (wait := due - time.monotonic()) > 0:
                    self._check_cancelled()
                    time.sleep(min(wait, 0.5))
                self._check_cancelled()
                yield part

    def _stream(
        self, method: str, path: str, arguments: Mapping[str, str], parts: Iterable[bytes]
    ) -> requests.Response:
        return self._request(
            method,
            path,
            params=arguments,
            data=self._throttled(parts),
            headers={"Content-Type": "application/octet-stream", "Connection": "close"},
            timeout=(SEND_TIMEOUT, ANSWER_TIMEOUT),
        )

    def _check_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("cancelled on request")

    def _do(self, method: str, path: str, body: Mapping[str, Any], **options: Any) -> None:
        """Have something done, and wait until it is."""
        answer = self._persist(method, path, json=body, **options)
        if answer.status_code != ACCEPTED:
            return
        task = _decoded(self._name, answer, _Accepted).task_id
        while True:
            self._check_cancelled()
            now = self._ask(f"tasks/{task}?wait={TASK_WAIT}", _Task)
            if now.error is not None:
                raise _refusal(self._name, 500, now.error)
            if now.ended is not None:
                return

    def _ask(self, path: str, kind: type[T]) -> T:
        return _decoded(self._name, self._persist("GET", path), kind)

    def _persist(self, method: str, path: str, **options: Any) -> requests.Response:
        """A call that may be made again, since it changes nothing or changes it once."""
        give_up = time.monotonic() + self._patience
        while True:
            try:
                return self._request(method, path, **options)
            except DriverUnavailable:
                if time.monotonic() >= give_up:
                    raise
            self._check_cancelled()
            time.sleep(RETRY_INTERVAL)

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        # ``verify`` with each request, since a bundle named in the environment would overrule a session's.
        options.setdefault("timeout", (CONNECT_TIMEOUT, ANSWER_TIMEOUT))
        options["verify"] = self._access.verify_ssl
        url = f"{self._access.api_uri.rstrip('/')}/{path}"
        try:
            # A redirect would carry the token to wherever it points.
            answer = self._session().request(method, url, allow_redirects=False, **options)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise DriverError(f"cluster {self._name} shows a certificate that is not trusted here") from None
            raise DriverUnavailable(f"the connection to cluster {self._name} broke off") from None
        except (requests.ConnectionError, requests.Timeout) as error:
            reason = "does not answer in time" if isinstance(error, requests.Timeout) else "cannot be reached"
            raise DriverUnavailable(f"cluster {self._name} {reason}") from None
        except requests.RequestException as error:
            raise DriverError(f"cluster {self._name} cannot be asked: {type(error).__name__}") from None
        if answer.status_code >= 300:
            raise _refusal(self._name, answer.status_code, _reason(answer))
        return answer

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            session = self._threads.session = requests.Session()
            session.headers[HEADER] = self._access.token
            self._sessions.append(session)
        return session


class Stored(msgspec.Struct):
    """The answer to a stream: up to which byte of the volume all is stored."""

    position: int


class _Reason(msgspec.Struct):
    message: str = ""
    code: str = ""


class _Accepted(msgspec.Struct):
    task_id: str


class _Task(msgspec.Struct):
    ended: str | None
    error: _Reason | None


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe)


def _decoded(name: str, answer: requests.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError as error:
        raise DriverError(f"cluster {name} answers what this version does not understand: {error}") from None


def _reason(answer: requests.Response) -> _Reason:
    try:
        return msgspec.json.decode(answer.content, type=_Reason)
    except msgspec.DecodeError:
        return _Reason(f"status {answer.status_code}, and no word that PVC would say")


def _refusal(name: str, status: int, reason: _Reason) -> PvcError:
    """What the other side said, as an error of ours. Its code says most, and the status the rest."""
    kind = _BY_CODE.get(reason.code) or _BY_STATUS.get(status, DriverError)
    return kind(f"cluster {name}: {reason.message}")


_BY_CODE: dict[str, type[PvcError]] = {
    "busy": Busy,
    "stale": Busy,
    "conflict": Conflict,
    "not_found": NotFound,
    "forbidden": Forbidden,
    "unauthorized": Forbidden,
    "unavailable": DriverUnavailable,
    "driver_unavailable": DriverUnavailable,
    "damaged": DriverUnavailable,  # what came damaged may come whole the next time
}
_BY_STATUS: dict[int, type[PvcError]] = {
    401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 503: DriverUnavailable,
}  # fmt: skip
