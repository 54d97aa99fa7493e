"""Where drivers come from, and how they are loaded when used.

Templates of ours (`bridges/templates`), modules here for devices that need a conversation, a household's own templates,
and packages that announce drivers as entry points `evenload.drivers`.
"""

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, cast

from pydantic import BaseModel

from bridges.connections import Connection, ConnectionKind
from bridges.device import DeviceSpec, Driver
from bridges.template import Template
from bridges.templated import create as create_templated
from core.clock import Clock
from core.errors import InvalidError

ENTRY_POINTS: Final = "evenload.drivers"
"""The group of entry points under which packages announce modules like `DriverModule`."""

DRIVERS: Final[Mapping[str, str]] = MappingProxyType({"iflex": "bridges.drivers.iflex"})
"""The name of a driver in a household file, and its module. A new conversation is a row here and a module there."""

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
"""Our own templates; the name of a file is that of its driver."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_TEMPLATES: Final = 500


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


class Origin(StrEnum):
    """Where a driver comes from."""

    TEMPLATE = "template"
    MODULE = "module"
    OWN_TEMPLATE = "own template"
    PACKAGE = "package"


@dataclass(frozen=True, slots=True)
class DriverSource:
    """A driver that there is, not loaded yet."""

    name: str
    origin: Origin
    place: str | Path | EntryPoint

    def load(self) -> DriverModule:
        """Import or read it. Raises InvalidError that says what is wrong with it."""
        match self.place:
            case Path() as path:
                return TemplateModule(_template(path, _changed_ns(path)))
            case EntryPoint() as announced:
                return _announced(announced)
            case module:
                return cast("DriverModule", importlib.import_module(module))


class TemplateModule:
    """A template in the place of a module."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.Options = template.options
        self.CONNECTION: ConnectionKind | None = template.head.connection

    def create(self, device: DeviceSpec, connection: Connection, clock: Clock) -> Driver:
        """Make the driver of one device."""
        return create_templated(self.template, device, connection, clock)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # reading it says why


@lru_cache(maxsize=256)
def _template(path: Path, _changed_ns: int) -> Template:
    """Read a template once for all its devices, and anew when its file has changed."""
    return Template(path)


@cache
def _packages() -> tuple[EntryPoint, ...]:
    """Return what installed packages announce: looking takes long, and nothing is installed while we run."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _announced(entry_point: EntryPoint) -> DriverModule:
    package = entry_point.dist.name if entry_point.dist else "a package"
    try:
        module = entry_point.load()
    except Exception as error:  # whatever a foreign package does when it is imported, it is its driver that fails
        raise InvalidError(f"The driver {entry_point.name} of {package} cannot be imported: {error}") from error
    missing = [part for part in ("Options", "CONNECTION", "create") if not hasattr(module, part)]
    if missing:
        raise InvalidError(f"The driver {entry_point.name} of {package} has no {', '.join(missing)}.")
    return cast("DriverModule", module)


def sources(folder: Path | None = None) -> dict[str, DriverSource]:
    """Return all drivers that there are, by name; `folder` holds a household's own templates, if it exists.

    Of two drivers of one name the one nearer to the household counts: its own template, then a package's, then ours.
    Files that have no driver's name are passed over. Raises InvalidError for a folder that cannot be read.
    """
    by_name = {path.stem: DriverSource(path.stem, Origin.TEMPLATE, path) for path in TEMPLATES.glob("*.yaml")}
    by_name |= {name: DriverSource(name, Origin.MODULE, module) for name, module in DRIVERS.items()}
    by_name |= {point.name: DriverSource(point.name, Origin.PACKAGE, point) for point in _packages()}
    by_name |= {path.stem: DriverSource(path.stem, Origin.OWN_TEMPLATE, path) for path in _own(folder)}
    return dict(sorted(by_name.items()))


def _own(folder: Path | None) -> list[Path]:
    try:
        if folder is None or not folder.is_dir():
            return []
        paths = [path for path in folder.glob("*.yaml") if _NAME.fullmatch(path.stem)]
    except OSError as error:
        raise InvalidError(f"The templates in {folder} cannot be read: {error.strerror}.") from error
    if len(paths) > _MOST_TEMPLATES:
        raise InvalidError(f"{folder} holds {len(paths)} templates; {_MOST_TEMPLATES} is the most.")
    return paths


def load(name: str, folder: Path | None = None) -> DriverModule:
    """Load a driver by its name in a household file. Raises InvalidError for one that there is not, or is no good."""
    by_name = sources(folder)
    if name not in by_name:
        rule = "" if _NAME.fullmatch(name) else " A name is of small letters, digits and _."
        near = get_close_matches(name[:64].lower(), by_name, n=3, cutoff=0.5)
        hint = f"; do you mean {' or '.join(near)}?" if near else "."
        raise InvalidError(f"There is no driver '{name:.64}'{hint} `evenload devices` lists them.{rule}")
    return by_name[name].load()


__all__ = ["DRIVERS", "ENTRY_POINTS", "DriverModule", "DriverSource", "Origin", "TemplateModule", "load", "sources"]
