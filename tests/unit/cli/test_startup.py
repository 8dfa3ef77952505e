"""What is imported when: help comes at once because little is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .terminal import ROOT

SLOW = {"http.client", "ssl", "json", "rich", "requests", "lxml", "xml.etree.ElementTree", "concurrent.futures"}
OTHER_ROOMS = {"pvc_core", "pvc_node", "pvc_tasks", "pvc_web", "lab", "django", "msgspec"}


def _modules(*arguments: str) -> set[str]:
    """What a process that ran this command has imported."""
    program = (
        "import sys\n"
        "from cli.main import main\n"
        "main(sys.argv[1:], prog_name='pvc', standalone_mode=False)\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


@pytest.mark.parametrize("arguments", ["", "vm", "vm volume add", "storage volume upload", "cluster task", "node log"])
def test_help_imports_neither_client_nor_parsers(arguments: str, home) -> None:
    loaded = _modules(*arguments.split(), "--help")
    assert not loaded & (SLOW | OTHER_ROOMS)


def test_help_of_the_root_imports_no_commands(home) -> None:
    assert not {name for name in _modules("--help") if name.startswith("cli.commands")}


def test_a_list_needs_no_large_library(api) -> None:
    api.on("GET", "/vm", [])
    assert not _modules("vm", "list") & {*OTHER_ROOMS, "rich", "requests", "urllib3", "lxml"}
