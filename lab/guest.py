"""The laboratory's guest: a disk image that boots by itself in seconds, and counts (see guest_init.sh)."""

from __future__ import annotations

import shutil
import string
import subprocess
import tempfile
from pathlib import Path

from lab.errors import LabError, run
from lab.kernel import Kernel, kernel
from lab.pattern import serial as pattern_serial

# Modules the guest loads; what they need is found in the kernel's own list. Those built into the kernel are skipped.
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "virtio_net", "virtio_balloon", "virtio_rng", "button",
    "evdev", "virtio_console",
)  # fmt: skip
SYSLINUX_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")

MIB = 1 << 20
SIZE_MIB = 256
BOOT_START_MIB, BOOT_SIZE_MIB = 1, 31
DATA_START_MIB = BOOT_START_MIB + BOOT_SIZE_MIB
PARTITIONS = f"""label: dos
start={BOOT_START_MIB}MiB, size={BOOT_SIZE_MIB}MiB, type=e, bootable
start={DATA_START_MIB}MiB, type=83
"""
BOOT_MENU = """SERIAL 0 115200
DEFAULT guest
PROMPT 0
LABEL guest
  KERNEL vmlinuz
  INITRD initrd
  APPEND console=ttyS0 quiet panic=1 mitigations=off cryptomgr.notests
"""


def build(image: Path) -> None:
    """Write the guest's disk to ``image``: raw, sparse, 256 MiB. Needs neither mounts nor loop devices.

    The first partition (FAT) carries SYSLINUX, the kernel and its initramfs, and the second (ext4) the guest's count.
    """
    guest_kernel = kernel()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        initramfs = directory / "initrd"
        _build_initramfs(guest_kernel, directory / "root", initramfs)
        menu = directory / "syslinux.cfg"
        menu.write_text(BOOT_MENU)
        disk = directory / "disk"
        with disk.open("wb") as file:
            file.truncate(SIZE_MIB * MIB)
        run("sfdisk", "--quiet", str(disk), stdin=PARTITIONS)
        _build_boot_partition(disk, {"vmlinuz": guest_kernel.image, "initrd": initramfs, "syslinux.cfg": menu})
        data_blocks = (SIZE_MIB - DATA_START_MIB) * MIB // 1024
        offset = f"offset={DATA_START_MIB * MIB}"
        run("mkfs.ext4", "-q", "-F", "-b", "1024", "-E", offset, str(disk), str(data_blocks))
        run("cp", "--sparse=always", str(disk), str(image))


def _build_boot_partition(disk: Path, files: dict[str, Path]) -> None:
    """Format the first partition, copy ``files`` onto it and make the disk bootable."""
    start = BOOT_START_MIB * MIB
    partition = f"{disk}@@{start}"
    sectors = str(start // 512)
    run("mkfs.vfat", "--offset", sectors, "-h", sectors, "-n", "BOOT", str(disk), str(BOOT_SIZE_MIB * 1024))
    for name, file in files.items():
        run("mcopy", "-i", partition, str(file), f"::{name}")
    run("syslinux", "--install", "--offset", str(start), str(disk))
    with disk.open("r+b") as target:
        target.write(SYSLINUX_MBR.read_bytes())


def _build_initramfs(guest_kernel: Kernel, root: Path, archive: Path) -> None:
    """Pack busybox, the modules and the init script into a compressed cpio ``archive``."""
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for script, place in (("guest_init.sh", root / "init"), ("guest_agent.sh", root / "bin/agent")):
        shutil.copy(Path(__file__).with_name(script), place)
        place.chmod(0o755)
    modules = _with_dependencies(guest_kernel)
    for module in modules:
        shutil.copy(guest_kernel.modules / module, root / "modules")
    order = "".join(f"{Path(module).name}\n" for module in modules)
    (root / "modules/order").write_text(order)
    with archive.open("wb") as output:
        pack = 'cd "$1" && find . | cpio --quiet --create --format=newc | gzip -9'
        subprocess.run(["sh", "-c", pack, "pack", str(root)], stdout=output, check=True)


def _with_dependencies(guest_kernel: Kernel) -> list[str]:
    """Paths of the wanted modules beneath the kernel's module directory, each after those that it needs."""
    run("depmod", "--basedir", str(guest_kernel.modules.parents[2]), guest_kernel.version)
    needs = {}
    for line in (guest_kernel.modules / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {Path(path).stem.replace("-", "_"): path for path in needs}
    built_in = (guest_kernel.modules / "modules.builtin").read_text()
    order: list[str] = []
    for name in MODULES:
        if name in by_name:
            # The kernel's list names the nearest first, so the deepest has to be loaded first.
            order += [path for path in (*reversed(needs[by_name[name]]), by_name[name]) if path not in order]
        elif f"/{name}.ko" not in built_in.replace("-", "_"):
            raise LabError(f"the kernel {guest_kernel.version} has no module {name}")
    return order


def guest_xml(
    name: str,
    disk: str,
    *,
    bridges: tuple[str, ...] = (),
    memory_mib: int = 256,
    vcpus: int = 1,
    uuid: str | None = None,
    pattern: tuple[str, ...] = (),
    block_kib: int = 64,
    agent: bool = False,
    load: tuple[str, int] | None = None,
) -> str:
    """libvirt's description of a guest that boots from the RBD image ``disk`` (``pool/volume``).

    It has a virtio disk and a virtio card on each of ``bridges``, a serial console, and neither screen nor keyboard.
    Over the RBD images ``pattern`` (of one size, blank at first) it writes the pattern of ``lab.pattern`` in blocks of
    ``block_kib``, for as long as it runs. ``load`` is one more such image, and the KiB of noise that it writes over
    that each second. Its ``agent`` (guest_agent.sh) can freeze the file system of the first disk.
    """
    identity = f"<uuid>{uuid}</uuid>" if uuid else ""
    interfaces = "".join(
        f"<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>" for bridge in bridges
    )
    serials = [pattern_serial(index, len(pattern), block_kib) for index in range(len(pattern))]
    further = list(zip(pattern, serials, strict=True))
    if load is not None:
        further.append((load[0], f"load-{load[1]}"))
    disks = _disk(disk, "vda") + "".join(
        _disk(volume, f"vd{letter}", f"<serial>{serial}</serial>")
        for (volume, serial), letter in zip(further, string.ascii_lowercase[1:], strict=False)
    )
    channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>" if agent else ""
    return f"""<domain type='kvm'>
  <name>{name}</name>{identity}
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>{disks}
    {interfaces}
    <serial type='pty'/>
    <console type='pty'><target type='serial'/></console>
    {channel}
  </devices>
</domain>
"""


def _disk(volume: str, target: str, identity: str = "") -> str:
    return f"""
    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' discard='unmap'/>
      <source protocol='rbd' name='{volume}'/>
      <target dev='{target}' bus='virtio'/>{identity}
    </disk>"""
