"""Where drivers come from, and how they are loaded when used.

Templates of ours (`bridges/templates`), modules here for devices that need a conversation, a household's own templates,
and packages that announce drivers as entry points `evenload.drivers`.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
class Source:
    """A driver that there is, not loaded yet."""

    name: str
    origin: Origin
    place: str | Path | EntryPoint

    def load(self) -> DriverModule:
        """Import or read it. Raises InvalidError that says what is wrong with it."""
        match self.place:
            case Path() as path:
                return TemplateModule(_template(path, path.stat().st_mtime_ns))
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


def sources(folder: Path | None = None) -> dict[str, Source]:
    """Return all drivers that there are, by name; `folder` holds a household's own templates, if it exists.

    Raises InvalidError for two drivers of one name.
    """
    by_name: dict[str, Source] = {}
    for source in _all(folder):
        if (other := by_name.get(source.name)) is not None:
            raise InvalidError(
                f"There are two drivers '{source.name}', {_where(other)} and {_where(source)}: rename or remove one."
            )
        by_name[source.name] = source
    return dict(sorted(by_name.items()))


def _all(folder: Path | None) -> Iterator[Source]:
    yield from (Source(path.stem, Origin.TEMPLATE, path) for path in sorted(TEMPLATES.glob("*.yaml")))
    yield from (Source(name, Origin.MODULE, module) for name, module in DRIVERS.items())
    yield from (Source(point.name, Origin.PACKAGE, point) for point in _packages())
    if folder is None or not folder.is_dir():
        return
    paths = sorted(folder.glob("*.yaml"))
    if len(paths) > _MOST_TEMPLATES:
        raise InvalidError(f"{folder} holds {len(paths)} templates; {_MOST_TEMPLATES} is the most.")
    for path in paths:
        if not _NAME.fullmatch(path.stem):
            raise InvalidError(f"{path}: a template's name is of small letters, digits and _, such as my_plug.yaml.")
        yield Source(path.stem, Origin.OWN_TEMPLATE, path)


def _where(source: Source) -> str:
    return f"one in {source.place}" if source.origin is Origin.OWN_TEMPLATE else f"a {source.origin}"


def load(name: str, folder: Path | None = None) -> DriverModule:
    """Load a driver by its name in a household file. Raises InvalidError for one that there is not, or is no good."""
    by_name = sources(folder)
    if name not in by_name:
        raise InvalidError(f"There is no driver '{name}'; there are {', '.join(by_name)}.")
    return by_name[name].load()


__all__ = ["DRIVERS", "ENTRY_POINTS", "DriverModule", "Origin", "Source", "TemplateModule", "load", "sources"]
