"""How a node decides between KVM and plain QEMU."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pvc_core.drivers import accelerator

# Stands for QEMU: notes that it was run, and ends like a guest that booted (0), did not (1), or hangs.
EMULATOR = """#!/bin/sh
echo run >>"{log}"
{last}
"""


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a kernel, on a node that has /dev/kvm."""
    (tmp_path / "kvm").touch()
    (tmp_path / "kernel").touch()
    monkeypatch.setattr(accelerator, "DEVICE", tmp_path / "kvm")
    return tmp_path


def install(node: Path, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    program = node / f"qemu-system-{os.uname().machine}"
    program.write_text(EMULATOR.format(log=node / "log", last=last))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{node}:{os.environ['PATH']}")


def decide(node: Path, setting: str = "auto", boot_id: str = "one", kernel: str = "kernel") -> str:
    return accelerator.decide(setting, str(node / kernel), boot_id, node / "state" / "accelerator.json")


def runs(node: Path) -> int:
    log = node / "log"
    return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.mark.parametrize("setting", ["kvm", "qemu"])
def test_a_setting_is_followed(node: Path, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    install(node, monkeypatch, "exit 0")
    assert decide(node, setting) == setting
    assert runs(node) == 0


def test_without_the_device_there_is_no_kvm(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(node, monkeypatch, "exit 0")
    (node / "kvm").unlink()
    assert decide(node) == "qemu"


@pytest.mark.parametrize(("last", "expected"), [("exit 0", "kvm"), ("exit 1", "qemu"), ("exec sleep 60", "qemu")])
def test_a_kernel_is_booted(node: Path, monkeypatch: pytest.MonkeyPatch, last: str, expected: str) -> None:
    monkeypatch.setattr(accelerator, "BOOT_TIMEOUT", 0.5)
    install(node, monkeypatch, last)
    assert decide(node) == expected
    assert runs(node) == 1


def test_the_answer_holds_until_the_next_boot(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(node, monkeypatch, "exit 0")
    assert [decide(node), decide(node)] == ["kvm", "kvm"]
    assert runs(node) == 1
    install(node, monkeypatch, "exit 1")
    assert decide(node, boot_id="two") == "qemu"
    assert runs(node) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"boot_id": "one"}'])
def test_a_damaged_answer_is_asked_for_again(node: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    install(node, monkeypatch, "exit 0")
    (node / "state").mkdir()
    (node / "state" / "accelerator.json").write_text(content)
    assert decide(node) == "kvm"
    assert runs(node) == 1


def test_without_a_kernel_to_try_there_is_no_kvm(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(node, monkeypatch, "exit 0")
    assert decide(node, kernel="missing") == "qemu"
    assert runs(node) == 0
