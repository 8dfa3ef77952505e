"""The power switches of the nodes: their BMCs, by IPMI or Redfish."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from pvc_core.drivers.ipmi import Ipmi
from pvc_core.drivers.redfish import Redfish
from pvc_core.errors import DriverError
from pvc_core.model.node import Bmc, BmcDriver
from pvc_core.ports import PowerState

DRIVERS: dict[BmcDriver, type[Ipmi] | type[Redfish]] = {BmcDriver.IPMI: Ipmi, BmcDriver.REDFISH: Redfish}
DEFAULT = "default"


class BmcPower:
    """Reads the password at each call, so that a changed one holds at once."""

    def __init__(self, passwords_file: str) -> None:
        self._passwords_file = Path(passwords_file)

    def state(self, node: str, bmc: Bmc) -> PowerState:
        with self._connect(node, bmc) as driver:
            return driver.state()

    def off(self, node: str, bmc: Bmc) -> None:
        with self._connect(node, bmc) as driver:
            driver.off()

    def on(self, node: str, bmc: Bmc) -> None:
        with self._connect(node, bmc) as driver:
            driver.on()

    @contextmanager
    def _connect(self, node: str, bmc: Bmc) -> Iterator[Ipmi | Redfish]:
        """The driver for a node's BMC; its errors are made to name the node."""
        password = self._password(node)
        try:
            yield DRIVERS[bmc.driver](bmc, password)
        except DriverError as error:
            raise type(error)(f"the BMC of {node} at {bmc.address}: {error}") from None

    def _password(self, node: str) -> str:
        """The node's password. No error says anything of the file's content."""
        path = self._passwords_file
        try:
            with path.open() as file:
                if stat.S_IMODE(path.stat().st_mode) & 0o077:
                    raise DriverError(f"{path} is open to others than its owner; mend it with: chmod 600 {path}")
                passwords = yaml.safe_load(file)
        except OSError as error:
            raise DriverError(f"the BMCs' passwords in {path} cannot be read: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError):
            raise DriverError(f"{path} is not valid YAML") from None
        if not isinstance(passwords, dict):
            raise DriverError(f"{path} is not a mapping of node names, or '{DEFAULT}', to passwords")
        password = passwords.get(node, passwords.get(DEFAULT))
        if password is None:
            raise DriverError(f"{path} has no password for '{node}' and none for '{DEFAULT}'")
        if not isinstance(password, str) or not password:
            raise DriverError(f"the password for '{node}' in {path} is not a text; put it in quotation marks")
        return password
