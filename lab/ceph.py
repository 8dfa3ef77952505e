"""Ceph: as one monitor, manager and OSD that keeps its objects in memory, or as three of each that outlive a kill."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from lab.service import Service

PORTS = (3300, 6789)

# One copy in memory: the quickest, and gone with its process.
_SINGLE = """osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_crush_chooseleaf_type = 0
osd_objectstore = memstore
memstore_device_bytes = {bytes}
"""

# A copy on each host. The object store is a sparse file, written straight to the disk; so it is whole after a kill.
# By Ceph's defaults the loss of the monitors' leader takes 15 s, a client of a lost one needs 30 s to see it, and a
# client of a lost OSD 10 to 15.
_REPLICATED = """osd_pool_default_size = {copies}
osd_pool_default_min_size = 2
osd_crush_chooseleaf_type = 1
osd_objectstore = bluestore
bluestore_block_create = true
bluestore_block_size = {bytes}
mon_lease = 2
mon_election_timeout = 2
mon_client_ping_interval = 1
mon_client_ping_timeout = 4
objecter_timeout = 2
objecter_tick_interval = 1
"""

GROUP = 64045  # Debian's for Ceph: by it a packet filter tells what Ceph's daemons send from what its clients do


@dataclass(frozen=True)
class Ceph:
    """The plan of one Ceph cluster: a monitor, a manager and an OSD at each of its addresses.

    Authentication is off, since all of it is in namespaces of its own or on loopback.
    """

    fsid: str
    monitors: Mapping[str, str]  # address of each by name; the OSDs are numbered in this order
    directory: str  # the daemons' data
    configuration: str  # path of ceph.conf
    ports: tuple[int, int] = PORTS  # the monitors', for the second and the first version of Ceph's protocol
    gib: int = 8  # what one OSD holds

    def content(self) -> str:
        """Content of ceph.conf, for the daemons and for their clients alike."""
        directory = self.directory
        store = _SINGLE if len(self.monitors) == 1 else _REPLICATED
        osds = "".join(
            f"[osd.{number}]\npublic_addr = {address}\ncluster_addr = {address}\n"
            for number, address in enumerate(self.monitors.values())
        )
        return f"""[global]
fsid = {self.fsid}
mon_host = {",".join(map(self._listen, self.monitors.values()))}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = false
mon_warn_on_pool_no_redundancy = false
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 2
mon_data_avail_crit = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_pool_default_read_lease_ratio = 0.25
{store.format(bytes=self.gib << 30, copies=len(self.monitors))}bluestore_cache_autotune = false
bluestore_cache_size = 67108864
osd_memory_target = 939524096
osd_recovery_sleep_hdd = 0
osd_snap_trim_sleep_hdd = 0
osd_delete_sleep_hdd = 0
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mgr_initial_modules =
mgr_tick_period = 1
mgr_stats_period = 1
log_file =
log_to_stderr = true
run_dir = {directory}
admin_socket =
[mon]
mon_data = {directory}/mon
[mgr]
mgr_data = {directory}/mgr
[osd]
osd_data = {directory}/osd
{osds}"""

    def services(self, name: str) -> list[Service]:
        """The daemons of the monitor ``name`` and of the manager and the OSD beside it."""
        number = list(self.monitors).index(name)
        new_manager = f"mkdir -p {self.directory}/mgr"
        return [
            self._daemon("mon", name, self._new_monitor(name), f"mon stat | grep -q 'quorum .*{name}'"),
            self._daemon("mgr", name, new_manager, "mgr stat | grep -q '\"available\": true'"),
            self._daemon("osd", str(number), self._new_osd(number), f"osd dump | grep -q '^osd.{number} up'"),
        ]

    def _daemon(self, kind: str, identity: str, setup: str, ready: str) -> Service:
        return Service(
            name=f"ceph-{kind}",
            directory=self.directory,
            files={self.configuration: self.content()},
            setup=setup,
            argv=(
                *("setpriv", f"--regid={GROUP}", "--clear-groups"),
                *(f"ceph-{kind}", "-c", self.configuration, "--id", identity, "-f"),
            ),
            ready=("sh", "-c", f"ceph -c {self.configuration} --connect-timeout 10 {ready}"),
        )

    def _new_monitor(self, name: str) -> str:
        directory = self.directory
        members = " ".join(f"--addv {member} {self._listen(address)}" for member, address in self.monitors.items())
        return f"""if [ ! -e {directory}/mon/ready ]; then
    rm -rf {directory}/mon {directory}/monmap
    mkdir {directory}/mon
    monmaptool --create --fsid {self.fsid} {members} {directory}/monmap
    ceph-mon -c {self.configuration} --id {name} --mkfs --monmap {directory}/monmap
    touch {directory}/mon/ready
fi"""

    def _new_osd(self, number: int) -> str:
        directory = self.directory
        identity = uuid.uuid5(uuid.UUID(self.fsid), f"osd.{number}")
        return f"""if [ ! -e {directory}/osd/ready ]; then
    rm -rf {directory}/osd
    mkdir {directory}/osd
    # This module would make a pool of its own, which nobody asked for.
    ceph -c {self.configuration} config set mgr mgr/devicehealth/enable_monitoring false --force
    ceph -c {self.configuration} osd new {identity} {number}
    ceph-osd -c {self.configuration} --id {number} --mkfs --osd-uuid {identity}
    touch {directory}/osd/ready
fi"""

    def _listen(self, address: str) -> str:
        return f"[v2:{address}:{self.ports[0]},v1:{address}:{self.ports[1]}]"
