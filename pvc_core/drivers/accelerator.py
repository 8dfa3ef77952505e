"""Whether a guest really boots under KVM here.

``/dev/kvm`` alone says little: under nested virtualisation it may exist, run a few instructions, and hang in a kernel.
So a kernel is booted, which finds no root file system and, told to reboot at a panic, makes QEMU end.
"""

from __future__ import annotations

import json
import logging
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Literal

log = logging.getLogger(__name__)

DomainType = Literal["kvm", "qemu"]

DEVICE = Path("/dev/kvm")
BOOT_TIMEOUT = 10.0  # seconds; a kernel under KVM takes less than one
MEMORY = 256  # MiB


def emulator(arch: str) -> str:
    """Path of QEMU for machines of this architecture; empty when it is not installed."""
    return shutil.which(f"qemu-system-{arch}") or ""


def decide(setting: str, probe_kernel: str, boot_id: str, cache: Path) -> DomainType:
    """The domain type for machines of this node.

    ``setting`` is ``kvm``, ``qemu`` or ``auto``. For the last a kernel is booted (``probe_kernel``, else the newest in
    /boot), and the answer is kept in the file ``cache`` until the next boot of this node.
    """
    if setting == "kvm":
        return "kvm"
    if setting == "qemu" or not DEVICE.exists():
        return "qemu"
    kernel = Path(probe_kernel) if probe_kernel else _newest_kernel()
    if kernel is None or not kernel.exists():
        log.warning("there is no kernel to try KVM with, so machines run without it; set libvirt.probe_kernel")
        return "qemu"
    question = {"boot_id": boot_id, "kernel": str(kernel)}
    answer = _remembered(cache, question)
    if answer is None:
        answer = "kvm" if _boots(kernel) else "qemu"
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({**question, "domain_type": answer}))
        log.info("machines of this node run under %s: %s", answer, _REASONS[answer])
    return answer


_REASONS = {"kvm": "a kernel booted under KVM", "qemu": "no kernel booted under KVM"}


def _remembered(cache: Path, question: dict[str, str]) -> DomainType | None:
    try:
        record = json.loads(cache.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict) or {key: record.get(key) for key in question} != question:
        return None
    return "kvm" if record.get("domain_type") == "kvm" else "qemu"


def _newest_kernel() -> Path | None:
    """The kernel in /boot that was written last."""
    return max(Path("/boot").glob("vmlinuz*"), key=lambda path: path.stat().st_mtime, default=None)


def _boots(kernel: Path) -> bool:
    command = [
        emulator(platform.machine()) or "qemu-system-x86_64",
        *("-accel", "kvm", "-cpu", "host", "-m", str(MEMORY), "-nodefaults", "-no-user-config"),
        *("-display", "none", "-no-reboot", "-kernel", str(kernel), "-append", "panic=-1 quiet"),
    ]
    try:
        result = subprocess.run(command, capture_output=True, timeout=BOOT_TIMEOUT, check=False)
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return False
    return result.returncode == 0
