"""The pattern that a guest writes over its pattern disks, and its check from outside.

The blocks are numbered from 1. They go round the disks in turn, one after another in each, and begin anew over the
oldest when all are full. Each is on disk before the next is begun (guest_init.sh), so at any one moment all the disks
together hold the last blocks without a gap, but for the one block that is being written. Where a newer block is there
and an older one is not, the disks are not of one moment, or lost a write that was acknowledged.

``python -m lab.pattern --block KIB IMAGE...`` checks images as one set, in the order of the disks: files, or RBD images
as ``pool/volume`` or ``pool/volume@snapshot``, to be run inside a host of the cluster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.errors import LabError

HEADER = 128  # bytes: the words below, filled up with spaces, and a newline
_HEADER = re.compile(rb"pvc-pattern (\d{20}) ([0-9a-f]{64}) *\n")
NAMED = 10  # of many wrong blocks, so many are named

Read = Callable[[int, int], bytes]  # offset, length


@dataclass(frozen=True)
class Image:
    """One disk as it is read: ``size`` in bytes."""

    size: int
    read: Read


@dataclass(frozen=True)
class Report:
    """What the disks of one machine hold together. ``last`` is 0 where nothing was written."""

    last: int  # the newest whole block
    whole: int  # blocks whose checksum is right
    wrong: tuple[str, ...]  # a sentence for each block that is missing, torn or out of its place

    @property
    def consistent(self) -> bool:
        return not self.wrong


def serial(index: int, disks: int, block_kib: int) -> str:
    """The serial number by which the guest knows a disk for the ``index``-th (from 0) of ``disks`` pattern disks."""
    return f"pattern-{index}-{disks}-{block_kib}"


def block(number: int, payload: bytes) -> bytes:
    """One block as the guest writes it."""
    head = f"pvc-pattern {number:020d} {hashlib.sha256(payload).hexdigest()}"
    return head.ljust(HEADER - 1).encode() + b"\n" + payload


def check(images: Sequence[Image], block_size: int) -> Report:
    """Read all blocks of the disks, given in their order, and say what is wrong. Raises LabError when that cannot be
    one machine's set: of no disk, or of disks of several sizes or smaller than a block."""
    if len({image.size for image in images}) != 1 or images[0].size < block_size:
        raise LabError("the pattern goes over one or more disks of the same size, of at least one block")
    slots = images[0].size // block_size * len(images)
    found: dict[int, int] = {}  # slot -> number of the whole block there; 0: blank
    torn = set()
    for slot in range(slots):
        content = images[slot % len(images)].read(slot // len(images) * block_size, block_size)
        number = _number(content)
        if number is None:
            torn.add(slot)
        else:
            found[slot] = number
    last = max(found.values(), default=0)
    wrong = []
    for number in range(max(1, last - slots + 1), last + 1):
        slot = (number - 1) % slots
        # The block that is being written goes over the oldest one.
        if slot in torn and slot == last % slots:
            continue
        if slot in torn:
            wrong.append(f"block {number} is torn, and {last} was written")
        elif found[slot] != number:
            wrong.append(f"block {number} is missing (there is {found[slot] or 'nothing'}), and {last} was written")
    beyond = [slot for slot in torn if slot > last % slots and last < slots]
    wrong += [f"what lies where block {slot + 1} belongs is no block, and {last} is the last one" for slot in beyond]
    return Report(last, sum(number > 0 for number in found.values()), tuple(wrong))


def _number(content: bytes) -> int | None:
    """The number of a whole block, 0 for a blank one, None for anything else."""
    head = _HEADER.fullmatch(content[:HEADER])
    if head is None:
        return None if content.strip(b"\0") else 0
    number, digest = head.groups()
    return int(number) if hashlib.sha256(content[HEADER:]).hexdigest().encode() == digest else None


@contextmanager
def opened(name: str) -> Iterator[Image]:
    """An image for reading: the file ``name`` where it begins with ``/`` or ``.``, else the RBD image. Raises LabError
    when there is none."""
    if name.startswith(("/", ".")):
        try:
            with Path(name).open("rb") as file:

                def read(offset: int, length: int) -> bytes:
                    file.seek(offset)
                    return file.read(length)

                yield Image(file.seek(0, 2), read)
        except OSError as error:
            raise LabError(f"{name} cannot be read: {error.strerror}") from None
        return
    import rados
    import rbd

    pool, _, rest = name.partition("/")
    volume, _, snapshot = rest.partition("@")
    try:
        with (
            rados.Rados(conffile="/etc/ceph/ceph.conf") as cluster,
            cluster.open_ioctx(pool) as context,
            rbd.Image(context, volume, snapshot=snapshot or None, read_only=True) as image,
        ):
            yield Image(image.size(), image.read)
    except (rados.Error, rbd.Error) as error:
        raise LabError(f"{name} cannot be read: {error}") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.pattern", description="Check the pattern on a set of disks.")
    parser.add_argument("--block", type=int, required=True, metavar="KIB", help="size of a block")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a file, pool/volume or pool/volume@snapshot")
    options = parser.parse_args()
    try:
        with ExitStack() as stack:
            images = [stack.enter_context(opened(name)) for name in options.images]
            report = check(images, options.block << 10)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(asdict(report) | {"wrong": report.wrong[:NAMED]}))
    return 0 if report.consistent else 1


if __name__ == "__main__":
    sys.exit(main())
