"""``pvc storage osd`` and ``pvc storage benchmark``: what they ask of the API, and what they show."""

from __future__ import annotations

import pytest

OSD = {
    "id": "7",
    "device": "/dev/sdb",
    "db_device": "",
    "stats": {"node": "node2", "state": "up,in", "pgs": 32, "weight": 0.5, "reweight": 1.0, "used": "2048M",
              "avail": "6144M", "utilization": 25.0, "var": 1.1, "rd_ops": 3, "wr_ops": 12},
}  # fmt: skip

RESULT = {
    "test": {"name": "seq_read", "pattern": "read", "block_size": "4M", "depth": 64},
    "figures": {"bandwidth": 104857600.0, "iops": 25.0,
                "latency": {"mean": 1234.5, "p95": 2000.0, "p99": 3000.0, "max": 9.0}},
    "nodes": {"node1": {"cpu_mean": 12.5, "cpu_max": 50.0, "memory_max": 2048, "received": 1048576.0, "sent": 0.0}},
}  # fmt: skip
BENCHMARK = {
    "id": "1",
    "job": "before",
    "test_format": 3,
    "benchmark_result": {"pool": "vms", "node": "node1", "size": 8 << 30, "seconds": 60, "tests": [RESULT]},
}


def test_osds_are_listed(pvc, api) -> None:
    api.on("GET", "/storage/ceph/osd", [OSD])
    line = pvc("storage", "osd", "list").output.splitlines()[1]
    assert line.split()[:6] == ["7", "node2", "/dev/sdb", "-", "up,in", "32"]
    assert pvc("storage", "osd", "list", "-f", "raw").output == "7\n"


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        (
            ("osd", "add", "node1", "detect:INTEL:800GB:0", "-w", "0.8", "-s", "20G", "-c", "2", "-y"),
            "POST",
            "/storage/ceph/osd",
            {"node": "node1", "device": "detect:INTEL:800GB:0", "weight": 0.8, "ext_db_size": "20G", "osd_count": 2},
        ),
        (
            ("osd", "replace", "7", "/dev/sdc", "-o", "/dev/sdb", "-f", "-y"),
            "POST",
            "/storage/ceph/osd/7",
            {"new_device": "/dev/sdc", "old_device": "/dev/sdb", "force": True},
        ),
        (("osd", "refresh", "7", "/dev/sdc", "-y"), "PUT", "/storage/ceph/osd/7", {"device": "/dev/sdc"}),
        (("osd", "out", "7"), "POST", "/storage/ceph/osd/7/state", {"state": "out", "force": False}),
        (("osd", "unset", "noout"), "POST", "/storage/ceph/option", {"option": "noout", "action": "unset"}),
        (("create-db-vg", "node1", "/dev/sdd", "-y"), "POST", "/storage/ceph/osddb", {"device": "/dev/sdd"}),
        (("benchmark", "run", "vms", "--name", "x", "-y"), "POST", "/storage/ceph/benchmark", {"name": "x"}),
    ],
)
def test_commands_ask_as_documented(pvc, api, command, method: str, path: str, body: dict[str, object]) -> None:
    api.accepts(method, path)
    assert pvc("storage", *command).exit_code == 0
    (request,) = api.writes()
    assert body.items() <= request.body.items()


def test_a_removal_is_meant(pvc, api) -> None:
    api.accepts("DELETE", "/storage/ceph/osd/7")
    assert pvc("storage", "osd", "remove", "7", "-f", "-y").exit_code == 0
    assert api.writes()[0].query == {"force": ["true"], "yes-i-really-mean-it": ["yes"]}


def test_benchmarks_are_shown_side_by_side_and_in_full(pvc, api) -> None:
    api.on("GET", "/storage/ceph/benchmark", [BENCHMARK])
    assert "100.0 MiB/s" in pvc("storage", "benchmark", "list").output
    text = pvc("storage", "benchmark", "info", "before").output
    assert text.startswith("before: pool vms by node node1, 60 s each on a volume of 8.0 GiB\n")
    assert "1 234" in text
    assert "12.50" in text
    assert api.requests[-1].query == {"job": ["before"]}
