"""The kernel of the laboratory's guests, and whether KVM on this machine can boot it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError, run
from pvc_core.drivers import accelerator

CACHE = Path("/var/cache/pvc-lab")
META_PACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    version: str
    image: Path  # vmlinuz
    modules: Path  # lib/modules/VERSION


def kernel() -> Kernel:
    """Debian's cloud kernel, fetched as a package and unpacked into the cache; nothing is installed.

    A cached kernel is kept until the cache is removed, so the laboratory needs no network after the first time.
    """
    found = sorted(CACHE.glob("linux/boot/vmlinuz-*"))
    if not found:
        _fetch()
        found = sorted(CACHE.glob("linux/boot/vmlinuz-*"))
    image = found[-1]
    version = image.name.removeprefix("vmlinuz-")
    return Kernel(version, image, CACHE / "linux/lib/modules" / version)


def _fetch() -> None:
    """Download the kernel's package and unpack it; the cache appears complete or not at all."""
    run("apt-get", "--quiet", "update")  # the lists may be missing, or name a kernel that is no longer offered
    depends = run("apt-cache", "depends", META_PACKAGE)
    packages = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not packages:
        raise LabError(f"the package {META_PACKAGE} is not known here: its archive is not among apt's sources")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        script = 'cd "$1" && apt-get -q -o APT::Sandbox::User=root download "$2" && dpkg-deb -x ./*.deb linux'
        run("sh", "-c", script, "fetch", directory, packages[0])
        shutil.rmtree(CACHE / "linux", ignore_errors=True)
        (Path(directory) / "linux").rename(CACHE / "linux")


def domain_type() -> accelerator.DomainType:
    """How machines run here: found out once for each boot of this machine, and told to every node."""
    if not accelerator.DEVICE.exists():
        return "qemu"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return accelerator.decide("auto", str(kernel().image), boot_id, CACHE / "domain-type.json")
