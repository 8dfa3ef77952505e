"""What a daemon of the laboratory is: declared once, run by runit in a host or by LocalServices in a test."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """One daemon: what it needs, how it is run, and how it is known to be ready.

    ``files`` are written before the first start, ``setup`` is shell code run before each start (so it must be
    idempotent), and ``ready`` is a command that exits with 0 once the daemon answers. All three run where the
    daemon runs.
    """

    name: str
    argv: tuple[str, ...]
    ready: tuple[str, ...]
    directory: str  # the daemon's data; belongs to ``user``
    files: Mapping[str, str] = field(default_factory=dict)
    setup: str = ""
    user: str = "root"
    environment: Mapping[str, str] = field(default_factory=dict)

    def script(self) -> str:
        """Shell script that prepares the daemon and then becomes it."""
        lines = ["#!/bin/sh", "set -eu", f"cd {shlex.quote(self.directory)}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in self.environment.items()]
        if self.setup:
            lines.append(self.setup)
        lines.append("exec " + shlex.join(self.argv))
        return "\n".join(lines) + "\n"

    def command(self, script: str) -> list[str]:
        """Command that runs the file ``script`` as the daemon's user."""
        if self.user == "root":
            return ["/bin/sh", script]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", "/bin/sh", script]

    def install(self, root: Path = Path("/")) -> None:
        """Make the data directory and write the files, beneath ``root``, readable for the daemon's user alone."""
        directory = root / self.directory.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            # Whole at each moment: several daemons have one ceph.conf, which is written anew while another reads it.
            new = path.with_name(f".{path.name}.{self.name}")
            new.touch(mode=0o600)
            new.write_text(content)
            if self.user != "root":
                shutil.chown(new, self.user, self.user)
            new.replace(path)
        if self.user != "root":
            shutil.chown(directory, self.user, self.user)
            directory.chmod(0o700)
