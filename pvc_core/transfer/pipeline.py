"""Work on a row of items by several threads, with the results in the items' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

WORKERS = 2  # compressing and digesting let other threads run; more would only wait for the disks
AHEAD = 4  # items in work at a time, which bounds the memory


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], worth: Callable[[Item], bool]
) -> Iterator[Result]:
    """``function`` of each item, by another thread where an item is ``worth`` the way there. The items are taken by the
    calling thread, a few ahead of the results."""
    pool = ThreadPoolExecutor(WORKERS, "blocks")
    try:
        pending: deque[Callable[[], Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item).result if worth(item) else partial(function, item))
            if len(pending) == AHEAD:
                yield pending.popleft()()
        while pending:
            yield pending.popleft()()
    finally:
        # Without waiting: where nobody closes this generator, the garbage collector does, in whichever thread it
        # happens to run; one that is just being started would wait for itself.
        pool.shutdown(wait=False, cancel_futures=True)
