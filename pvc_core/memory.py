"""How this process gives memory back."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of mallopt(3)


def return_large_blocks() -> None:
    """Have the C library give each block of more than 1 MiB back as soon as it is freed, keep no more than 16 MiB of
    smaller ones, and share its pools among the threads. Otherwise it keeps what blocks of disks once took, for each
    thread anew. Nothing where the C library has no ``mallopt``."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)
        mallopt(_M_TRIM_THRESHOLD, 16 << 20)
        mallopt(_M_ARENA_MAX, 2)
