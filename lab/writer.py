"""A machine of a laboratory cluster that writes the numbered pattern (``lab.pattern``) over two disks."""

from __future__ import annotations

from pathlib import Path

from lab import guest
from lab.drive import Driver

BLOCK_KIB = 64
PATTERN_DISKS = 2


def pattern_disks(disk: str) -> tuple[str, ...]:
    """Those of the machine that boots from ``disk`` (pool/volume)."""
    return tuple(f"{disk}-p{number}" for number in range(PATTERN_DISKS))


def define(
    user: Driver,
    directory: Path,
    disk: str,
    *options: str,
    disk_mib: int = 32,
    agent: bool = False,
    load: tuple[int, int] | None = None,
) -> None:
    """Make the volumes of a machine that is named as the one it boots from, define it on node1 with further
    ``options``, and wait until it runs and has written. ``load``: a fourth disk of so many MiB, over which it writes so
    many KiB of noise a second."""
    image, xml = directory / "guest.raw", directory / "guest.xml"
    guest.build(image)
    pool, name = disk.split("/")
    user.pvc("storage", "volume", "add", pool, name, f"{guest.SIZE_MIB}M")
    user.pvc("storage", "volume", "upload", pool, name, str(image), "-f", "raw")
    pattern = pattern_disks(disk)
    sizes, noise = dict.fromkeys(pattern, disk_mib), None
    if load is not None:
        noise = (f"{disk}-load", load[1])
        sizes[noise[0]] = load[0]
    for volume, size in sizes.items():
        user.pvc("storage", "volume", "add", *volume.split("/"), f"{size}M")
    xml.write_text(guest.guest_xml(name, disk, pattern=pattern, block_kib=BLOCK_KIB, agent=agent, load=noise))
    user.pvc("vm", "define", str(xml), "-t", "node1", *options)
    user.pvc("vm", "start", name)
    user.wait_console(name, r"guest: pattern \d+$")
