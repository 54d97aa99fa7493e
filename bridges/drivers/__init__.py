"""One module a driver. Each declares its options and makes a `Driver`; `DRIVERS` names them, imported when used."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, cast

from pydantic import BaseModel

from bridges.connections import Connection, ConnectionKind
from bridges.device import DeviceSpec, Driver
from core.clock import Clock
from core.errors import InvalidError

DRIVERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "iflex": "bridges.drivers.iflex",
        "senml_meter": "bridges.drivers.senml_meter",
        "shelly1": "bridges.drivers.shelly1",
    }
)
"""The name of a driver in a household file, and its module. A new driver is a row here and a module there."""


class DriverModule(Protocol):
    """What a driver's module offers."""

    Options: type[BaseModel]
    """The options of a device of this driver; the household file's schema is made of these."""
    CONNECTION: ConnectionKind | None
    """The kind of connection that a device of this driver needs; None if it needs none."""

    def create(self, device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
        """Make the driver of one device. Raises InvalidError where the options are wrong.

        `connection` is of the kind that the driver needs, or leads nowhere.
        """


def load(name: str) -> DriverModule:
    """Import a driver's module. Raises InvalidError for a name that is not in DRIVERS."""
    path = DRIVERS.get(name)
    if path is None:
        raise InvalidError(f"There is no driver '{name}'; there are {', '.join(sorted(DRIVERS))}.")
    return cast("DriverModule", importlib.import_module(path))


__all__ = ["DRIVERS", "DriverModule", "load"]
