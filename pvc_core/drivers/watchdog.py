"""The kernel's watchdog: a timer that resets the node unless somebody keeps putting it off.

See the kernel's Documentation/watchdog/watchdog-api.rst.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from pvc_core.errors import DriverError

SET_TIMEOUT = 0xC0045706  # WDIOC_SETTIMEOUT
DISARM = b"V"  # the "magic close": without it the timer runs on after the device was closed


class KernelWatchdog:
    """Armed from the moment it is made. Used by one thread."""

    def __init__(self, device: Path, seconds: int) -> None:
        """Raises DriverError when there is no such device, or when it cannot wait for as long as ``seconds``."""
        try:
            self._file = os.open(device, os.O_WRONLY)
        except OSError as error:
            raise DriverError(f"the watchdog {device} cannot be used: {error.strerror}") from None
        try:
            (timeout,) = struct.unpack("i", fcntl.ioctl(self._file, SET_TIMEOUT, struct.pack("i", seconds)))
        except OSError as error:
            self.close()
            raise DriverError(f"the watchdog {device} takes no time-out of {seconds} s: {error.strerror}") from None
        if timeout > seconds:
            self.close()
            raise DriverError(f"the watchdog {device} waits for {timeout} s, which is more than {seconds} s")

    def put_off(self) -> None:
        """Begin its time anew."""
        os.write(self._file, b"\0")

    def close(self) -> None:
        """Disarm it."""
        os.write(self._file, DISARM)
        os.close(self._file)
