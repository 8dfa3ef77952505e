"""Documents in the shapes of the API."""

from __future__ import annotations

from typing import Any

XML = """\
<domain type="kvm" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <name>web</name>
  <uuid>0f3ad0a6-0a3e-4e4b-8a5c-3d1c7a3c0e01</uuid>
  <!-- keep me -->
  <memory unit="KiB">1048576</memory>
  <currentMemory unit="KiB">524288</currentMemory>
  <vcpu placement="static" current="1">2</vcpu>
  <devices>
    <disk type="network" device="disk">
      <driver name="qemu" type="raw"/>
      <auth username="libvirt"><secret type="ceph" uuid="c416032b-2ce9-457f-a5dc-18704a3485f4"/></auth>
      <source protocol="rbd" name="vms/web_root"><host name="10.0.2.11" port="6789"/></source>
      <target dev="sda" bus="scsi"/>
    </disk>
    <interface type="bridge">
      <mac address="52:54:00:00:00:01"/>
      <source bridge="vmbr100"/>
      <model type="virtio"/>
    </interface>
  </devices>
  <qemu:commandline>
    <qemu:arg value="-no-hpet"/>
  </qemu:commandline>
</domain>
"""

UUID = "0f3ad0a6-0a3e-4e4b-8a5c-3d1c7a3c0e01"


def vm(**changes: Any) -> dict[str, Any]:
    return {
        "name": "web",
        "uuid": UUID,
        "state": "start",
        "failed_reason": "",
        "node": "node1",
        "last_node": "",
        "migrated": "no",
        "node_limit": ["node1", "node2"],
        "node_selector": "mem",
        "node_autostart": False,
        "migration_method": "live",
        "migration_max_downtime": 300,
        "priority": 9,
        "affinity": ["cache"],
        "anti_affinity": ["production"],
        "tags": [{"name": "production", "type": "user", "protected": True}],
        "description": "The web server",
        "profile": "",
        "memory": 1024,
        "memory_stats": {"rss": 524288, "unused": 1024},
        "vcpu": 2,
        "vcpu_topology": "1/2/1",
        "vcpu_stats": {"cpu_time": 90_000_000_000},
        "vnc": {"listen": "None", "port": "None"},
        "networks": [
            {
                "type": "bridged",
                "vni": 100,
                "mac": "52:54:00:00:00:01",
                "source": "vmbr100",
                "model": "virtio",
                "rd_bytes": 1048576,
                "rd_packets": 10,
                "wr_bytes": 0,
                "wr_packets": 0,
            }
        ],
        "type": "kvm",
        "arch": "x86_64",
        "machine": "pc-q35-7.2",
        "console": "pty",
        "emulator": "/usr/bin/qemu-system-x86_64",
        "features": ["acpi"],
        "disks": [{"type": "rbd", "name": "vms/web_root", "dev": "sda", "bus": "scsi", "rd_bytes": 5, "rd_req": 1}],
        "controllers": [{"type": "scsi", "model": "virtio-scsi"}],
        "snapshots": [],
        "xml": XML,
        **changes,
    }


def node(**changes: Any) -> dict[str, Any]:
    return {
        "name": "node1",
        "daemon_state": "run",
        "coordinator_state": "primary",
        "domain_state": "ready",
        "pvc_version": "2.0.0",
        "cpu_count": 2,
        "kernel": "6.1.0",
        "os": "Linux",
        "arch": "x86_64",
        "health": 90,
        "health_plugins": ["load"],
        "health_details": [{"name": "load", "last_run": 1, "health_delta": 10, "message": "load is high"}],
        "load": 0.5,
        "domains_count": 1,
        "running_domains": UUID,
        "vcpu": {"total": 2, "allocated": 2},
        "memory": {"total": 4096, "allocated": 1024, "provisioned": 1024, "used": 2000, "free": 2096},
        "interfaces": {"eth0": {}},
        "fence": "",
        **changes,
    }


def fault(**changes: Any) -> dict[str, Any]:
    return {
        "id": "a1b2",
        "first_reported": "2023-12-01 16:47:59.849742",
        "last_reported": "2023-12-01 17:39:45.188398",
        "acknowledged_at": "",
        "status": "new",
        "health_delta": 10,
        "message": "VM web: no image",
        "node": "",
        "over": False,
        **changes,
    }


def network(**changes: Any) -> dict[str, Any]:
    empty = {"network": "", "gateway": "", "dhcp_flag": False, "dhcp_start": "", "dhcp_end": ""}
    return {
        "vni": 100,
        "description": "office",
        "type": "bridged",
        "mtu": "",
        "domain": "",
        "name_servers": [],
        "ip4": empty,
        "ip6": empty,
        **changes,
    }


POOL = {
    "name": "vms",
    "volume_count": 1,
    "tier": "default",
    "pgs": 32,
    "stats": {
        "free_bytes": 3 * 1024**3,
        "used_bytes": 1024**2,
        "used_percent": 0.25,
        "stored_bytes": 512,
        "num_objects": 4,
        "num_objects_degraded": 0,
    },
}

VOLUME = {
    "name": "web_root",
    "pool": "vms",
    "stats": {"size": "10G", "objects": 2560, "order": 22, "format": 2, "snapshot_count": 0, "features": ["layering"]},
}

VOLUME_SNAPSHOT = {
    "pool": "vms",
    "volume": "web_root",
    "snapshot": "before_upgrade",
    "size": "10G",
    "timestamp": "2026-01-02T03:04:05Z",
    "protected": True,
    "vm": "",
}

STATUS = {
    "cluster_health": {"health": 75, "messages": ["node2: is dead"]},
    "node_health": {"node1": {"health": 100, "messages": []}, "node2": {"health": 25, "messages": ["no sign of life"]}},
    "n_minus_1": {"survives": False, "nodes": {"node1": ["web"]}},
    "maintenance": "false",
    "primary_node": "node1",
    "pvc_version": "2.0.0",
    "upstream_ip": "10.0.0.254/24",
    "nodes": {"total": 2, "run,ready": 1, "dead,ready": 1},
    "vms": {"total": 1, "start": 1},
    "networks": 1,
    "osds": {"total": 3, "up,in": 3},
    "pools": 1,
    "volumes": 1,
    "snapshots": 0,
    "resources": {
        "vcpu": {"total": 4, "load": 0.5, "allocated": 2, "provisioned": 2, "utilization": 12.5},
        "memory": {
            "total": 8192,
            "free": 4096,
            "used": 4096,
            "allocated": 1024,
            "provisioned": 1024,
            "utilization": 50,
        },
        "disk": {"total": 3145728, "used": 1048576, "free": 2097152, "utilization": 33.3},
    },
}


def task(**changes: Any) -> dict[str, Any]:
    return {
        "task_id": "5b6b1d1e-6b1f-4f0e-9f8e-0d9a5a1b2c3d",
        "task_name": "vm.start",
        "run_on": "node1",
        "requested_by": "admin",
        "subject": "vm:web",
        "state": "SUCCESS",
        "status": "web runs",
        "current": 2,
        "total": 2,
        "created": "2025-11-22T11:00:00+00:00",
        "started": "2025-11-22T11:00:01+00:00",
        "ended": "2025-11-22T11:01:12+00:00",
        "duration": 71.4,
        "result": {"message": "web runs on node1"},
        "error": None,
        "left": [],
        **changes,
    }
