"""How documents are shown."""

from __future__ import annotations

import json

import pytest

from cli.output import NOTHING, Column, Table, as_text, log_text, size, width
from cli.tables.cells import duration

from . import documents

TABLE = Table((Column("Name", "name"), Column("Size", "stats.size", right=True), Column("Node", "node")), empty="None.")


def test_columns_align_with_wide_combining_and_missing_characters() -> None:
    rows = [
        {"name": "web", "stats": {"size": 5}, "node": "a"},
        {"name": "資料庫", "stats": {"size": 12345}, "node": "b"},
        {"name": "cafe\u0301", "node": "c"},
    ]
    lines = TABLE.render(rows).splitlines()
    assert lines[1:] == ["web         5  a", "資料庫  12345  b", "cafe\u0301        -  c"]
    assert len({width(line[: line.rindex(" ")]) for line in lines[1:]}) == 1


def test_an_empty_list_says_so() -> None:
    assert TABLE.render([]) == "None."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        ("", NOTHING),
        ([], NOTHING),
        (0, "0"),
        (True, "yes"),
        (False, "no"),
        (["a", 1], "a, 1"),
        (0.5, "0.50"),
    ],
)
def test_values_as_text(value: object, text: str) -> None:
    assert as_text(value) == text


def test_control_characters_of_guests_do_not_reach_the_terminal() -> None:
    assert as_text("\x1b]0;title\x07evil\nname\x9b2J") == "]0;titleevil name2J"
    assert log_text("\x1b[31mred\x1b[0m\x1b[2J\x1b]0;t\x07 tab\there") == "\x1b[31mred\x1b[0m[2J]0;t tab\there"


def test_sizes_and_durations() -> None:
    assert [size(n) for n in (0, 1023, 1024, 3 * 1024**3, 2**60, None)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 GiB",
        "1024.0 PiB",
        NOTHING,
    ]
    assert [duration(n) for n in (0.04, 59.9, 61, 3725, None)] == [
        "0.04 s",
        "59.9 s",
        "1 min 1 s",
        "1 h 2 min",
        NOTHING,
    ]


LISTS = [
    (["vm", "list"], "/vm", [documents.vm()], "web"),
    (["node", "list"], "/node", [documents.node()], "node1"),
    (["network", "list"], "/network", [documents.network()], "100"),
    (["storage", "pool", "list"], "/storage/ceph/pool", [documents.POOL], "vms"),
    (["storage", "volume", "list"], "/storage/ceph/volume", [documents.VOLUME], "web_root"),
    (
        ["storage", "volume", "snapshot", "list"],
        "/storage/ceph/snapshot",
        [documents.VOLUME_SNAPSHOT],
        "before_upgrade",
    ),
]
PARTS = [
    (["vm", "tag", "get", "web"], "/vm/web/tags", {"name": "web", "tags": documents.vm()["tags"]}, "production"),
    (["vm", "network", "get", "web"], "/vm/web", documents.vm(), "52:54:00:00:00:01"),
    (["vm", "volume", "get", "web"], "/vm/web", documents.vm(), "vms/web_root"),
    (["vm", "memory", "get", "web"], "/vm/web", documents.vm(), "1024"),
    (["vm", "vcpu", "get", "web"], "/vm/web", documents.vm(), "2"),
]
COMMAND_LINES = [" ".join(case[0]) for case in LISTS + PARTS]


@pytest.mark.parametrize(("arguments", "path", "document", "key"), LISTS + PARTS, ids=COMMAND_LINES)
def test_every_list_as_table_names_and_json(pvc, api, arguments, path, document, key) -> None:
    api.on("GET", path, document)
    pretty = pvc(*arguments)
    assert pretty.exit_code == 0
    assert key in pretty.output
    assert "None" not in pretty.output
    assert pvc(*arguments, "-f", "raw").output == f"{key}\n"
    compact = pvc(*arguments, "-f", "json").output
    assert compact.count("\n") == 1
    assert json.loads(compact) == json.loads(pvc(*arguments, "-f", "json-pretty").output)


@pytest.mark.parametrize(("arguments", "path", "document", "key"), LISTS, ids=COMMAND_LINES[: len(LISTS)])
def test_json_of_a_list_is_the_document_of_the_api(pvc, api, arguments, path, document, key) -> None:
    api.on("GET", path, document)
    assert json.loads(pvc(*arguments, "-f", "json").output) == document


@pytest.mark.parametrize(
    ("arguments", "path", "document", "parts", "more"),
    [
        (
            ["vm", "info", "web"],
            "/vm/web",
            documents.vm(),
            ["1024 MiB", "vms/web_root", "production"],
            ["90.00", "1.0 MiB", "cache"],
        ),
        (["node", "info", "node1"], "/node/node1", documents.node(), ["90 %", "4096 MiB"], ["load is high", "eth0"]),
        (["network", "info", "100"], "/network/100", documents.network(mtu=1400), ["office", "1400"], ["Managed"]),
    ],
)
def test_every_sheet_short_long_and_json(pvc, api, arguments, path, document, parts, more) -> None:
    api.on("GET", path, document)
    short, long = pvc(*arguments).output, pvc(*arguments, "-f", "long").output
    for part in parts:
        assert part in short
    for part in more:
        assert part not in short
        assert part in long
    assert json.loads(pvc(*arguments, "-f", "json").output) == document


def test_cluster_status(pvc, api) -> None:
    api.on("GET", "/status", documents.STATUS)
    pretty = pvc("cluster", "status").output
    for part in (
        "75 %",
        "node2: is dead",
        "1 run,ready",
        "no place for 1 of the machines on node1",
        "no sign of life",
        "1.0 GiB used of 3.0 GiB",
        "10.0.0.254/24",
    ):
        assert part in pretty
    short = pvc("cluster", "status", "-f", "short").output
    assert short.count("\n") == 4
    assert "Maintenance   off" in short
    assert json.loads(pvc("cluster", "status", "-f", "json").output) == documents.STATUS


def test_storage_status_is_ceph_s_own(pvc, api) -> None:
    api.on("GET", "/storage/ceph/status", {"type": "status", "ceph_data": "HEALTH_OK"})
    api.on("GET", "/storage/ceph/utilization", {"type": "utilization", "ceph_data": "RAW USED"})
    assert pvc("storage", "status").output == "HEALTH_OK\n"
    assert pvc("storage", "util").output == "RAW USED\n"


def test_colours_only_where_wanted(pvc, api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.on("GET", "/vm", [documents.vm()])
    assert "\x1b" not in pvc("vm", "list").output
    assert "\x1b[32mstart\x1b[0m" in pvc("--colour", "vm", "list").output
    assert "\x1b[32mstart\x1b[0m" in pvc("--color", "vm", "list").output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in pvc("vm", "list").output
    assert "\x1b" in pvc("--colour", "vm", "list").output
    assert "\x1b" not in pvc("--colour", "vm", "list", "-f", "json").output


def test_no_color_holds_at_a_terminal(api, monkeypatch: pytest.MonkeyPatch) -> None:
    """click strips colours by itself where the output is no terminal, so this test gives it one."""
    from .terminal import on_terminal

    api.on("GET", "/vm", [documents.vm()])
    assert "\x1b[32mstart" in on_terminal("vm", "list")
    monkeypatch.setenv("NO_COLOR", "1")
    text = on_terminal("vm", "list")
    assert "start" in text
    assert "\x1b" not in text
