"""One tree of coded errors.

Two questions decide the class: did anything change (``Refused``: no, ``Failed``: yes), and may the same call
succeed if it is made again (``retryable``). ``status`` is the HTTP status a face answers with.
"""

from __future__ import annotations

from typing import ClassVar


class PvcError(Exception):
    """Root of every error this project raises on purpose.

    ``code`` is the stable name that a program may test; ``str(error)`` is the sentence a person reads.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self)


class Refused(PvcError):
    """The request was turned down, and nothing was changed."""

    code = "refused"
    status = 400


class BadRequest(Refused):
    """An argument is malformed, or names something that cannot be."""

    code = "bad_request"


class Unauthorized(Refused):
    """No credentials, or credentials that are wrong, expired or revoked."""

    code = "unauthorized"
    status = 401


class Forbidden(Refused):
    """The caller is known and lacks the right."""

    code = "forbidden"
    status = 403


class NotFound(Refused):
    """What the request names does not exist."""

    code = "not_found"
    status = 404


class Conflict(Refused):
    """The request is well formed and contradicts the present state."""

    code = "conflict"
    status = 409


class Busy(Conflict):
    """Another operation holds what this one needs; it may succeed once that one has ended."""

    code = "busy"
    retryable = True


class Stale(Conflict):
    """A conditional write found another version than the one that was read. Nothing of the transaction was applied.

    ``path`` names the first entity whose version (or existence) differed.
    """

    code = "stale"
    retryable = True

    def __init__(self, path: str, reason: str = "changed since it was read") -> None:
        super().__init__(f"{path} {reason}")
        self.path = path


class Unavailable(Refused):
    """A part the request needs does not answer now: no quorum, no worker, no storage."""

    code = "unavailable"
    status = 503
    retryable = True


class Failed(PvcError):
    """An operation broke off after it had begun. ``left`` lists what could not be undone, one sentence each."""

    code = "failed"

    def __init__(self, message: str, *, left: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.left = left


class Cancelled(Failed):
    """The operation was asked to stop, stopped at a step, and undid what it had done."""

    code = "cancelled"
    status = 409


class ClaimLost(Failed):
    """This worker no longer owns the task it runs: it was silent for too long and the task was given away."""

    code = "claim_lost"


class DriverError(PvcError):
    """An outside system (libvirt, Ceph, the kernel) answered with an error. Trying again will not help."""

    code = "driver"
    status = 502


class DriverUnavailable(DriverError):
    """An outside system did not answer. Trying again may help."""

    code = "driver_unavailable"
    status = 503
    retryable = True
