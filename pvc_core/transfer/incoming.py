"""One disk that comes from another cluster, and how far it has come: kept in a remark of the image itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec

from pvc_core.errors import PvcError
from pvc_core.ports import BlockImage
from pvc_core.transfer.frames import LARGEST, Damaged, Frame, decode
from pvc_core.transfer.images import write_frames

NOTE = "transfer"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the remark says. An image that has one is not as any of its snapshots: blocks of an unfinished transfer are
    in it, or may be."""

    transfer: str  # id
    ready: bool = False  # it is as the blocks that come expect it: as their parent, or empty
    position: int = 0  # up to this byte all is stored
    whole: bool = False  # all has come, and its end was checked
    base: str = ""  # the snapshot as which it was made ready; empty: it was empty

    def stored(self, size: int) -> int:
        """From which byte on the sender has to go on; ``size`` only when nothing is missing."""
        return size if self.whole else min(self.position, (size - 1) // LARGEST * LARGEST)


def mark_of(image: BlockImage) -> Mark | None:
    text = image.note(NOTE)
    return msgspec.json.decode(text, type=Mark) if text else None


def set_mark(image: BlockImage, mark: Mark | None) -> None:
    image.set_note(NOTE, msgspec.json.encode(mark).decode() if mark else "")


def receive(image: BlockImage, mark: Mark, read: Callable[[int], bytes], check: Callable[[], object]) -> int:
    """Write a stream of frames into an image; answers its size. ``mark`` is the image's present one, and ``check``
    raises when the stream has to end.

    What breaks off is stored and marked up to there before its error is raised, so that the sender can go on from
    there. The end of the stream makes the disk whole."""
    size = image.size
    broken: PvcError | None = None

    def frames() -> Iterator[Frame]:
        nonlocal broken
        try:
            for frame in decode(read):
                check()
                if frame.end > size:
                    raise Damaged(f"it has a block at byte {frame.offset}, and the disk has {size} bytes")
                yield frame
        except PvcError as error:
            broken = error

    def stored(position: int) -> None:
        nonlocal mark
        if position > mark.position:
            mark = replace(mark, position=position)
            set_mark(image, mark)

    write_frames(image, frames(), stored)
    if broken is not None:
        raise broken
    set_mark(image, replace(mark, whole=True))
    return size
