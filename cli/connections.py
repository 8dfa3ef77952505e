"""The clusters this command knows: one JSON file of the person who runs it, readable by no one else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.errors import CliError, NoAccess

DIRECTORY_VARIABLE = "PVC_CLIENT_DIR"
DEFAULT_PORT = 7370


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach the API of one cluster."""

    name: str
    address: str  # host name, IPv4 or IPv6 address
    port: int = DEFAULT_PORT
    ssl: bool = False
    api_key: str = ""
    description: str = ""

    @property
    def scheme(self) -> str:
        return "https" if self.ssl else "http"

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{host}:{self.port}"


def file() -> Path:
    """$PVC_CLIENT_DIR/connections.json, else below $XDG_CONFIG_HOME/pvc, else below ~/.config/pvc."""
    directory = os.environ.get(DIRECTORY_VARIABLE)
    if directory:
        return Path(directory) / "connections.json"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "pvc" / "connections.json"


def load() -> dict[str, Connection]:
    """All connections by name; none when the file is not there. Raises CliError when it cannot be understood."""
    path = file()
    try:
        raw = json.loads(path.read_text())
        return {name: Connection(name=name, **fields) for name, fields in raw.items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CliError(
            f"{path} is not a file of connections: {error}; correct it, or remove it and add them again"
        ) from None


def save(connections: Mapping[str, Connection]) -> None:
    """Replace the file as a whole, so that no reader sees half of it and a full disk keeps the old one."""
    path = file()
    document = {
        name: {k: v for k, v in asdict(one).items() if k != "name"} for name, one in sorted(connections.items())
    }
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(document, stream, indent=2)
        partial.replace(path)
    except OSError as error:
        raise CliError(f"{path} cannot be written: {error.strerror}") from None


def choose(connections: Mapping[str, Connection], name: str | None) -> Connection:
    """The connection called ``name``, or the only one. Raises NoAccess when that leaves none or several."""
    if name:
        if name in connections:
            return connections[name]
        raise NoAccess(f"there is no connection {name!r}; {_known(connections)}")
    if len(connections) == 1:
        return next(iter(connections.values()))
    if connections:
        raise NoAccess(f"choose a cluster with -c NAME or $PVC_CONNECTION; {_known(connections)}")
    raise NoAccess(_known(connections))


def _known(connections: Mapping[str, Connection]) -> str:
    if not connections:
        return "no cluster is known yet: add one with `pvc connection add NAME -a ADDRESS -k @KEYFILE`"
    return f"known are {', '.join(sorted(connections))}"
