"""``pvc vm`` and what it asks of the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from .documents import UUID, XML, vm
from .terminal import Terminal

DESTRUCTIVE = [
    ("vm stop web", "POST", "/vm/web/state"),
    ("vm shutdown web", "POST", "/vm/web/state"),
    ("vm restart web", "POST", "/vm/web/state"),
    ("vm disable web", "POST", "/vm/web/state"),
    ("vm remove web", "DELETE", "/vm/web"),
    ("vm undefine web", "DELETE", "/vm/web"),
    ("vm rename web www", "POST", "/vm/web/rename"),
    ("vm snapshot remove web first", "DELETE", "/vm/web/snapshot"),
    ("vm snapshot rollback web first", "POST", "/vm/web/snapshot/rollback"),
    ("network remove 100", "DELETE", "/network/100"),
    ("cluster fault ack-all", "PUT", "/faults"),
    ("cluster fault delete-all", "DELETE", "/faults"),
    ("storage pool remove vms", "DELETE", "/storage/ceph/pool/vms"),
    ("storage pool set-pgs vms 64", "PUT", "/storage/ceph/pool/vms"),
    ("storage volume remove vms v", "DELETE", "/storage/ceph/volume/vms/v"),
    ("storage volume rename vms v w", "PUT", "/storage/ceph/volume/vms/v"),
    ("storage pool set-replcfg vms copies=2,mincopies=1", "PUT", "/storage/ceph/pool/vms"),
    ("storage volume snapshot rollback vms v s", "POST", "/storage/ceph/snapshot/vms/v/s/rollback"),
    ("storage volume snapshot remove vms v s", "DELETE", "/storage/ceph/snapshot/vms/v/s"),
    ("storage volume resize vms v 20G", "PUT", "/storage/ceph/volume/vms/v"),
]


@pytest.mark.parametrize(("arguments", "method", "path"), DESTRUCTIVE)
def test_what_destroys_is_confirmed(pvc, api, arguments: str, method: str, path: str) -> None:
    api.accepts(method, path)
    for answer in ("n\n", ""):
        declined = pvc(*arguments.split(), input=answer)
        assert declined.exit_code == 1
        assert "Aborted" in declined.stderr
    assert api.requests == []

    for run in (
        lambda: pvc(*arguments.split(), input="y\n"),
        lambda: pvc(*arguments.split(), "-y"),
        lambda: pvc(*arguments.split(), "--yes"),
        lambda: pvc("-u", *arguments.split()),
    ):
        assert run().exit_code == 0
    assert [(request.method, request.path) for request in api.writes()] == [(method, path)] * 4


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        ("vm stop web -y --force", "POST", "/vm/web/state", {"state": "stop", "force": True}),
        ("vm restart web -y", "POST", "/vm/web/state", {"state": "restart"}),
        ("vm disable web -y", "POST", "/vm/web/state", {"state": "disable", "force": False}),
        (
            "vm migrate web -t node2 -f --force-live",
            "POST",
            "/vm/web/node",
            {"action": "migrate", "node": "node2", "force": True, "force_live": True},
        ),
        ("vm unmigrate web", "POST", "/vm/web/node", {"action": "unmigrate", "force_live": False}),
        ("vm move web", "POST", "/vm/web/node", {"action": "move", "force_live": False}),
        ("vm flush-locks web", "POST", "/vm/web/locks", None),
        ("vm rename web www -y", "POST", "/vm/web/rename", {"new_name": "www"}),
        ("vm tag add web blue -p", "POST", "/vm/web/tags", {"action": "add", "tag": "blue", "protected": True}),
        ("vm tag remove web blue", "POST", "/vm/web/tags", {"action": "remove", "tag": "blue"}),
        (
            "vm meta web -l node1,node2 -s load -A -m live -d 500 -p small --priority 9 --affinity db "
            "--affinity cache --anti-affinity=",
            "POST",
            "/vm/web/meta",
            {
                "limit": "node1,node2",
                "selector": "load",
                "autostart": False,
                "migration_method": "live",
                "migration_max_downtime": 500,
                "profile": "small",
                "priority": 9,
                "affinity": ["db", "cache"],
                "anti_affinity": [""],
            },
        ),
        ("node flush node2", "POST", "/node/node2/domain-state", {"action": "flush"}),
        ("node ready node2 -w", "POST", "/node/node2/domain-state", {"action": "ready"}),
        ("node ready node2 --stay", "POST", "/node/node2/domain-state", {"action": "ready", "stay": True}),
        ("node primary node2", "POST", "/node/node2/coordinator-state", {"action": "primary"}),
        ("node secondary node2", "POST", "/node/node2/coordinator-state", {"action": "secondary"}),
        ("cluster maintenance off", "POST", "/status", {"state": False}),
        (
            "network add 100 -d office -p bridged -m 1400",
            "POST",
            "/network",
            {"vni": 100, "description": "office", "nettype": "bridged", "mtu": 1400},
        ),
        (
            "network modify 100 -d shop --dns-server 10.0.0.1 --dns-server 10.0.0.2 -i6 fd00::/64 --no-dhcp",
            "PUT",
            "/network/100",
            {"description": "shop", "name_servers": "10.0.0.1,10.0.0.2", "ip6_network": "fd00::/64", "dhcp4": False},
        ),
        (
            "storage pool add vms 32",
            "POST",
            "/storage/ceph/pool",
            {"pool": "vms", "pgs": 32, "tier": "default", "replcfg": "copies=3,mincopies=2"},
        ),
        ("storage pool set-pgs vms 64 -y", "PUT", "/storage/ceph/pool/vms", {"pgs": 64}),
        (
            "storage volume add vms v 10G",
            "POST",
            "/storage/ceph/volume",
            {"pool": "vms", "volume": "v", "size": "10G", "force": False},
        ),
        (
            "storage volume resize vms v 20G -f -y",
            "PUT",
            "/storage/ceph/volume/vms/v",
            {"new_size": "20G", "force": True},
        ),
        (
            "storage pool set-replcfg vms copies=2,mincopies=1 -y",
            "PUT",
            "/storage/ceph/pool/vms",
            {"replcfg": "copies=2,mincopies=1"},
        ),
        (
            "storage volume snapshot add vms v s -f",
            "POST",
            "/storage/ceph/snapshot",
            {"pool": "vms", "volume": "v", "snapshot": "s", "force": True},
        ),
        ("storage volume snapshot rename vms v s t", "PUT", "/storage/ceph/snapshot/vms/v/s", {"new_name": "t"}),
        ("storage volume snapshot protect vms v s", "PUT", "/storage/ceph/snapshot/vms/v/s", {"protected": True}),
        ("storage volume snapshot unprotect vms v s", "PUT", "/storage/ceph/snapshot/vms/v/s", {"protected": False}),
        ("storage volume rename vms v w -y", "PUT", "/storage/ceph/volume/vms/v", {"new_name": "w"}),
        (
            "storage volume clone vms v w",
            "POST",
            "/storage/ceph/volume/vms/v/clone",
            {"new_volume": "w", "force": False},
        ),
    ],
)
def test_writes_as_the_api_gets_them(pvc, api, arguments: str, method: str, path: str, body) -> None:
    api.accepts(method, path)
    result = pvc(*arguments.split())
    assert result.exit_code == 0, result.output
    (write,) = api.writes()
    assert (write.method, write.path, write.body) == (method, path, body)


def test_remove_takes_the_disks_and_undefine_does_not(pvc, api) -> None:
    api.accepts("DELETE", "/vm/web")
    pvc("vm", "remove", "web", "-y")
    pvc("vm", "undefine", "web", "-y")
    assert [write.query for write in api.writes()] == [{"delete_disks": ["true"]}, {"delete_disks": ["false"]}]


def test_pool_removal_carries_the_confirmation_the_api_wants(pvc, api) -> None:
    api.accepts("DELETE", "/storage/ceph/pool/vms")
    pvc("storage", "pool", "remove", "vms", "-y")
    assert api.writes()[0].query == {"yes-i-really-mean-it": ["yes"]}


def test_a_node_that_is_not_named_is_this_one(pvc, api) -> None:
    import socket

    here = socket.gethostname().partition(".")[0]
    api.on("GET", f"/node/{here}/coordinator-state", {"name": here, "coordinator_state": "secondary"})
    result = pvc("node", "is-primary")
    assert (result.output, result.exit_code) == ("no\n", 1)
    api.on("GET", "/node/other/coordinator-state", {"name": "other", "coordinator_state": "primary"})
    assert pvc("node", "is-primary", "other").exit_code == 0


def test_node_filters(pvc, api) -> None:
    api.on("GET", "/node", [])
    assert "No node matches" in pvc("node", "list", "hv", "-ds", "run", "-cs", "primary", "-vs", "ready").output
    given = {"limit": "hv", "daemon_state": "run", "coordinator_state": "primary", "domain_state": "ready"}
    assert api.requests[0].query == {name: [value] for name, value in given.items()}


def test_define(pvc, api, tmp_path: Path) -> None:
    api.accepts("POST", "/vm")
    (tmp_path / "web.xml").write_text(XML)
    options = [
        "-t",
        "node1",
        "-l",
        "node1,node2",
        "-s",
        "mem",
        "-a",
        "-m",
        "live",
        "-d",
        "200",
        "-g",
        "a",
        "-g",
        "b",
        "-G",
        "c",
        "--priority",
        "5",
        "--anti-affinity",
        "web",
    ]
    assert pvc("vm", "define", str(tmp_path / "web.xml"), *options).exit_code == 0
    assert pvc("vm", "define", "-", input=XML).exit_code == 0
    first, second = api.writes()
    assert first.body == {
        "xml": XML,
        "node": "node1",
        "limit": "node1,node2",
        "selector": "mem",
        "autostart": True,
        "migration_method": "live",
        "migration_max_downtime": 200,
        "priority": 5,
        "anti_affinity": ["web"],
        "user_tags": ["a", "b"],
        "protected_tags": ["c"],
    }
    assert second.body == {"xml": XML}


def test_define_refuses_what_is_no_domain_without_asking(pvc, api) -> None:
    result = pvc("vm", "define", "-", input="<domain>")
    assert result.exit_code == 1
    assert "not well formed" in result.stderr
    assert pvc("vm", "define", "no-such-file.xml").exit_code == 2
    assert api.requests == []


def test_dump(pvc, api, tmp_path: Path) -> None:
    api.on("GET", "/vm/web", vm())
    assert pvc("vm", "dump", "web").output.strip() == XML.strip()
    pvc("vm", "dump", "web", "-f", str(tmp_path / "web.xml"))
    assert (tmp_path / "web.xml").read_text().strip() == XML.strip()


@pytest.fixture
def changed(tmp_path: Path) -> str:
    """A file with the machine's XML, its memory unit changed."""
    (tmp_path / "changed.xml").write_text(XML.replace("1048576", "2097152"))
    return str(tmp_path / "changed.xml")


def test_modify_from_a_file_shows_the_difference_and_asks(pvc, api, changed: str) -> None:
    api.on("GET", "/vm/web", vm())
    api.accepts("PUT", f"/vm/{UUID}")
    declined = pvc("vm", "modify", "web", changed, input="n\n")
    assert '-  <memory unit="KiB">1048576</memory>' in declined.output
    assert '+  <memory unit="KiB">2097152</memory>' in declined.output
    assert declined.exit_code == 1
    assert api.writes() == []

    assert pvc("vm", "modify", "web", changed, "-d").exit_code == 0
    assert pvc("vm", "modify", "web", changed, "-y", "-r").exit_code == 0
    assert pvc("vm", "modify", "web", changed, "-d", "-c", "-r").exit_code == 0
    assert pvc("vm", "modify", "web", changed, "-d", "-r", input="n\n").exit_code == 1
    assert [write.body["restart"] for write in api.writes()] == [False, True, True]
    assert "2097152" in api.writes()[0].body["xml"]


def test_modify_without_a_difference_changes_nothing(pvc, api) -> None:
    api.on("GET", "/vm/web", vm())
    assert "Nothing differs" in pvc("vm", "modify", "web", "-", input=XML).output
    assert api.writes() == []


def _editor(tmp_path: Path, *commands: str) -> str:
    """An editor that applies one sed command at each call."""
    script = tmp_path / "editor"
    lines = ["#!/bin/sh", f"n=$(cat {tmp_path}/calls 2>/dev/null || echo 0); echo $((n + 1)) > {tmp_path}/calls"]
    lines += [f'[ "$n" != {i} ] || exec sed -i "{command}" "$1"' for i, command in enumerate(commands)]
    script.write_text("\n".join(lines) + "\n")
    script.chmod(0o700)
    return str(script)


def test_modify_in_the_editor(pvc, api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first edit breaks the XML, and the second corrects that."""
    monkeypatch.setenv(
        "EDITOR", _editor(tmp_path, "s/1048576/2097152/; s/<vcpu /<vcpu/", "s/<vcpuplacement/<vcpu placement/")
    )
    api.on("GET", "/vm/web", vm(state="stop"))
    api.accepts("PUT", f"/vm/{UUID}")
    result = pvc("vm", "modify", "web", "-e", input="y\ny\n")
    assert result.exit_code == 0, result.output
    assert "not well formed" in result.stderr
    (write,) = api.writes()
    assert write.body["xml"] == XML.replace("1048576", "2097152")


def test_an_editor_left_without_a_change_changes_nothing(pvc, api, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "true")
    api.on("GET", "/vm/web", vm())
    assert "Nothing differs" in pvc("vm", "modify", "web", "--editor").output
    assert api.writes() == []


def test_modify_wants_one_source(pvc, api, changed: str) -> None:
    assert pvc("vm", "modify", "web", changed, "-e").exit_code == 2
    assert api.requests == []


def test_a_restart_is_asked_for_at_a_terminal(api) -> None:
    api.on("GET", "/vm/web", vm())
    api.accepts("PUT", f"/vm/{UUID}")
    for answer, restart in (("n", False), ("y", True)):
        with Terminal("vm", "memory", "set", "web", "2048") as terminal:
            terminal.wait_for("Restart web now")
            terminal.type(f"{answer}\n")
            assert "It was done." in terminal.rest()
        assert api.writes()[-1].body["restart"] is restart
