"""The libvirt XML of a synthetic machine: two disks, two network cards, about the length that real ones have."""

from __future__ import annotations

from pvc_core.model.vm import Vm

MEMORY_MIB = 4096
VCPUS = 4
DISKS = ("sda", "sdb")

_FEATURES = (
    "vme", "ss", "pdcm", "osxsave", "hypervisor", "tsc_adjust", "clflushopt", "umip", "pku", "md-clear", "stibp",
    "xsaves", "pdpe1gb", "invtsc", "rdctl-no", "ibrs-all", "skip-l1dfl-vmentry", "mds-no", "pschange-mc-no", "ssbd",
)  # fmt: skip


def mac(vm: Vm, card: int) -> str:
    tail = vm.uuid[:4]
    return f"52:54:00:{tail[:2]}:{tail[2:]}:{card:02x}"


def networks(vm: Vm) -> tuple[int, int]:
    """VNIs of the machine's two cards, among those of the synthetic cluster."""
    return 100 + int(vm.uuid[:2], 16) % 20, 100 + int(vm.uuid[2:4], 16) % 20


def libvirt_xml(vm: Vm) -> str:
    features = "\n".join(f"    <feature policy='require' name='{name}'/>" for name in _FEATURES)
    pairs = zip(DISKS, ("vms", "data"), strict=True)
    disks = "\n".join(_disk(vm, device, pool, unit) for unit, (device, pool) in enumerate(pairs))
    cards = "\n".join(_card(vm, card, vni) for card, vni in enumerate(networks(vm)))
    ports = "\n".join(_root_port(index) for index in range(1, 8))
    return f"""<domain type='kvm'>
  <name>{vm.name}</name>
  <uuid>{vm.uuid}</uuid>
  <description>Made from the profile debian-server for the tenant's application {vm.name}</description>
  <memory unit='MiB'>{MEMORY_MIB}</memory>
  <currentMemory unit='MiB'>{MEMORY_MIB}</currentMemory>
  <vcpu placement='static'>{VCPUS}</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
    <pae/>
  </features>
  <cpu mode='custom' match='exact' check='partial'>
    <model fallback='allow'>Skylake-Server-IBRS</model>
    <topology sockets='1' dies='1' cores='{VCPUS}' threads='1'/>
{features}
  </cpu>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>restart</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
{disks}
{cards}
    <controller type='usb' index='0' model='qemu-xhci'/>
    <controller type='sata' index='0'/>
    <controller type='scsi' index='0' model='virtio-scsi'/>
    <controller type='virtio-serial' index='0'/>
    <controller type='pci' index='0' model='pcie-root'/>
{ports}
    <serial type='pty'>
      <log file='/var/log/libvirt/{vm.name}.log' append='on'/>
      <target port='0'/>
    </serial>
    <console type='pty'>
      <target type='serial' port='0'/>
    </console>
    <channel type='unix'>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <input type='tablet' bus='usb'/>
    <input type='mouse' bus='ps2'/>
    <input type='keyboard' bus='ps2'/>
    <graphics type='vnc' port='-1' autoport='yes' listen='0.0.0.0'>
      <listen type='address' address='0.0.0.0'/>
    </graphics>
    <video>
      <model type='virtio' heads='1' primary='yes'/>
    </video>
    <memballoon model='virtio'>
      <stats period='2'/>
    </memballoon>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
  </devices>
</domain>
"""


def _disk(vm: Vm, device: str, pool: str, unit: int) -> str:
    return f"""    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='native' discard='unmap'/>
      <auth username='libvirt'>
        <secret type='ceph' uuid='7e21c4bd-2d47-4b6f-a4a1-4d3f0d9c1a11'/>
      </auth>
      <source protocol='rbd' name='{pool}/{vm.name}_disk'>
        <host name='10.0.2.1' port='6789'/>
        <host name='10.0.2.2' port='6789'/>
        <host name='10.0.2.3' port='6789'/>
      </source>
      <target dev='{device}' bus='scsi'/>
      <address type='drive' controller='0' bus='0' target='0' unit='{unit}'/>
    </disk>"""


def _card(vm: Vm, card: int, vni: int) -> str:
    return f"""    <interface type='bridge'>
      <mac address='{mac(vm, card)}'/>
      <source bridge='vmbr{vni}'/>
      <model type='virtio'/>
      <mtu size='1500'/>
    </interface>"""


def _root_port(index: int) -> str:
    return f"    <controller type='pci' index='{index}' model='pcie-root-port'><target chassis='{index}'/></controller>"
