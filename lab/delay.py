"""``python -m lab.delay INTERFACE SECONDS``: gives each packet that is routed into a TUN interface back to the kernel
after a while, as a long line does. It stands in for netem, which not every kernel has."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
LARGEST = 65535  # bytes of a packet
LINE = 50_000  # packets that are under way at once; more are lost
AT_ONCE = 64  # packets taken in between two looks at the clock


def attach(interface: str) -> int:
    """Descriptor of a new TUN interface, which is there as long as this process is."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def carry(descriptor: int, delay: float) -> None:
    """Pass packets on in their order, each ``delay`` seconds after it came, for ever."""
    line: deque[tuple[float, bytes]] = deque()  # when it is due, and the packet
    while True:
        patience = max(0.0, line[0][0] - time.monotonic()) if line else None
        readable, _, _ = select.select([descriptor], [], [], patience)
        now = time.monotonic()
        for _ in range(AT_ONCE if readable else 0):
            try:
                packet = os.read(descriptor, LARGEST)
            except BlockingIOError:
                break
            if len(line) < LINE:
                line.append((now + delay, packet))
        while line and line[0][0] <= now:
            os.write(descriptor, line.popleft()[1])


if __name__ == "__main__":
    carry(attach(sys.argv[1]), float(sys.argv[2]))
