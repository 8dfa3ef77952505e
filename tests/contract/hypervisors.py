"""Two nodes that can migrate machines to each other: over the fake, and over two real libvirtds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from lab import guest, namespaces
from pvc_core.config import (
    Config,
    DaemonConfig,
    LibvirtConfig,
    NodeConfig,
    PostgresqlConfig,
    RedisConfig,
    ZookeeperConfig,
)
from pvc_core.drivers.libvirt import LibvirtHypervisor
from pvc_core.errors import DriverUnavailable
from pvc_core.fakes.hypervisor import FakeHypervisor, FakeRack
from pvc_core.ports import Hypervisor
from tests.contract.libvirt_host import LibvirtHost
from tests.contract.worlds import eventually

SECTOR = 512
DISK_SIZE = 1024**2
STAY = b"\xf4\xeb\xfd"  # hlt, and jump back to it
# mov dx, 0x604; mov ax, 0x2000; out dx, ax: the command to power off in the power management port of QEMU's "pc".
POWER_OFF = b"\xba\x04\x06\xb8\x00\x20\xef" + STAY


class Guest(Enum):
    """What runs in a machine."""

    IDLE = "idle"  # a boot sector that does nothing: answers no power button, lets go of no device
    QUITTER = "quitter"  # one that powers the machine off as soon as it runs
    LINUX = "linux"  # takes seconds to boot, and has an agent


@dataclass(frozen=True)
class Machine:
    uuid: str
    name: str
    mac: str
    xml: str
    guest: Guest


def machine(guest_kind: Guest, disk: Path) -> Machine:
    """A machine with the disk ``vda``, one network card and a screen."""
    identity = uuid.uuid4()
    name = f"test-{identity.hex[:8]}"
    mac = f"52:54:00:{identity.hex[0:2]}:{identity.hex[2:4]}:{identity.hex[4:6]}"
    xml = f"""<domain type='kvm'>
  <name>{name}</name>
  <uuid>{identity}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os>
  <features><acpi/></features>
  <cpu mode='host-passthrough'/>
  <devices>
    <emulator>/usr/bin/kvm</emulator>
    {disk_xml("vda", disk, readonly=guest_kind is not Guest.LINUX)}
    <interface type='ethernet'><mac address='{mac}'/><model type='virtio'/></interface>
    <console type='pty'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <graphics type='vnc' port='-1' listen='127.0.0.1'/>
  </devices>
</domain>"""
    return Machine(str(identity), name, mac, xml, guest_kind)


def disk_xml(target: str, path: Path, *, readonly: bool = False) -> str:
    """Only with read-only files does libvirt migrate a machine between hosts that share no file system."""
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='raw'/><source file='{path}'/><target dev='{target}' bus='virtio'/>
      {"<readonly/>" if readonly else ""}
    </disk>"""


class HypervisorWorld(Protocol):
    """``there`` receives migrations at the address ``target``."""

    here: Hypervisor
    there: Hypervisor
    target: str

    def machine(self, guest_kind: Guest = Guest.IDLE) -> Machine: ...

    def disk(self) -> Path:
        """A file for one more disk."""
        ...

    def run(self, machine: Machine) -> None:
        """Let a machine that was started do what its guest does, as far as having booted or powered off."""
        ...

    def frozen(self, machine: Machine) -> bool:
        """Whether its agent has frozen its file systems."""
        ...

    def kill(self, machine: Machine) -> None:
        """Kill its QEMU process on the first node."""
        ...

    def interrupt(self) -> None:
        """The first node's libvirt dies; its machines run on."""
        ...

    def resume(self) -> None:
        """It is back."""
        ...

    def clear(self) -> None:
        """Cut the power of every machine."""
        ...

    def close(self) -> None: ...


class FakeHypervisorWorld:
    target = "there"

    def __init__(self) -> None:
        rack = FakeRack()
        self.here = FakeHypervisor(rack, "here")
        self.there = FakeHypervisor(rack, self.target)

    def machine(self, guest_kind: Guest = Guest.IDLE) -> Machine:
        made = machine(guest_kind, self.disk())
        if guest_kind is Guest.IDLE:
            self.here.deaf.add(made.uuid)
            self.here.clinging.add(made.uuid)
        if guest_kind is Guest.LINUX:
            self.here.agents.add(made.uuid)
        return made

    def disk(self) -> Path:
        return Path("/nowhere/disk")

    def run(self, machine: Machine) -> None:
        if machine.guest is Guest.QUITTER:
            self.here.power_off(machine.uuid)

    def frozen(self, machine: Machine) -> bool:
        return machine.uuid in self.here.frozen

    def kill(self, machine: Machine) -> None:
        self.here.crash(machine.uuid)

    def interrupt(self) -> None:
        self.here.unavailable = True

    def resume(self) -> None:
        self.here.unavailable = False

    def clear(self) -> None:
        self.here.lose_power()
        self.there.lose_power()

    def close(self) -> None:
        pass


class LibvirtWorld:
    """Two libvirtds on two addresses of loopback."""

    target = "127.0.0.2"

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="pvc-libvirt-"))
        self._image = self._directory / "linux.raw"
        self._mount_points = self._directory / "mount-points"
        namespaces.create_mount_points(self._mount_points)
        self._hosts = [
            LibvirtHost(self._directory / "a", "alpha", "127.0.0.1"),
            LibvirtHost(self._directory / "b", "beta", self.target),
        ]
        try:
            for host in self._hosts:
                host.start()
        except BaseException:
            self.close()
            raise
        self.here, self.there = (LibvirtHypervisor(self.config(host)) for host in self._hosts)

    def config(self, host: LibvirtHost) -> Config:
        return Config(
            node=NodeConfig(name=host.name),
            zookeeper=ZookeeperConfig(hosts=()),
            postgresql=PostgresqlConfig(hosts=()),
            redis=RedisConfig(url=""),
            libvirt=LibvirtConfig(uri=host.uri, domain_type="qemu"),
            daemon=DaemonConfig(console_directory=str(self._directory / "console")),
        )

    def machine(self, guest_kind: Guest = Guest.IDLE) -> Machine:
        disk = self.disk()
        if guest_kind is Guest.LINUX:
            if not self._image.exists():
                guest.build(self._image)
            subprocess.run(["cp", "--sparse=always", self._image, disk], check=True)
        else:
            program = POWER_OFF if guest_kind is Guest.QUITTER else STAY
            disk.write_bytes((program.ljust(SECTOR - 2, b"\0") + b"\x55\xaa").ljust(DISK_SIZE, b"\0"))
        return machine(guest_kind, disk)

    def disk(self) -> Path:
        disk = self._directory / f"{uuid.uuid4()}.raw"
        disk.write_bytes(bytes(DISK_SIZE))
        return disk

    def console(self, machine: Machine) -> str:
        return (self._directory / "console" / f"{machine.uuid}.log").read_text(errors="replace")

    def run(self, machine: Machine) -> None:
        if machine.guest is Guest.LINUX:
            eventually(lambda: "guest: count" in self.console(machine), timeout=60)
            eventually(lambda: "state='connected'" in self._hosts[0].virsh("dumpxml", machine.name), timeout=30)

    def frozen(self, machine: Machine) -> bool:
        console = self.console(machine)
        return console.count("guest: frozen") > console.count("guest: thawed")

    def kill(self, machine: Machine) -> None:
        self._hosts[0].kill_machine(machine.name)

    def interrupt(self) -> None:
        self._hosts[0].crash()
        eventually(lambda: not self._answers())

    def resume(self) -> None:
        self._hosts[0].wait()

    def limit_migration(self, machine: Machine, mib_a_second: int) -> None:
        self._hosts[0].virsh("migrate-setspeed", machine.name, str(mib_a_second))

    def clear(self) -> None:
        for hypervisor in (self.here, self.there):
            for identity, domain in hypervisor.domains().items():
                if domain.alive:
                    hypervisor.destroy(identity)

    def close(self) -> None:
        for host in self._hosts:
            host.stop()
        namespaces.remove_mount_points(self._mount_points)
        shutil.rmtree(self._directory)

    def _answers(self) -> bool:
        try:
            self.here.statistics()
        except DriverUnavailable:
            return False
        return True
