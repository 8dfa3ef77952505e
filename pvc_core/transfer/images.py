"""From images to frames and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from pvc_core.errors import Cancelled
from pvc_core.ports import BlockImage
from pvc_core.transfer.frames import LARGEST, ZEROS, Frame

FLUSH_EVERY = 64 << 20  # bytes between two moments from which a transfer can be taken up again


def read_frames(image: BlockImage, since: str = "", start: int = 0) -> Iterator[Frame]:
    """What differs from the snapshot ``since`` (see ``BlockImage.extents``), from the byte ``start`` on."""
    for extent in image.extents(since, start):
        for offset in range(extent.offset, extent.offset + extent.length, LARGEST):
            length = min(LARGEST, extent.offset + extent.length - offset)
            if not extent.data:
                yield Frame(offset, length, None)
                continue
            content = image.read(offset, length)
            yield Frame(offset, length, None if content == ZEROS[:length] else content)


def write_frames(
    image: BlockImage,
    frames: Iterable[Frame],
    stored: Callable[[int], None],
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Write frames into an image. ``stored`` is told again and again up to which byte of the disk all is safely stored,
    last of all at the end. Answers that position. Raises Cancelled with what was written so far."""
    position = unflushed = 0
    for frame in frames:
        if cancelled():
            raise Cancelled("the transfer was cancelled")
        if frame.content is None:
            image.zero(frame.offset, frame.length)
        else:
            image.write(frame.offset, frame.content)
            unflushed += frame.length
        position = frame.end
        if unflushed >= FLUSH_EVERY:
            image.flush()
            stored(position)
            unflushed = 0
    image.flush()
    stored(position)
    return position
