"""Reading `household.yaml`: every fault is named with file, line and column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from bridges.connections import NoConnection
from bridges.device import CapabilityKind, Device
from bridges.drivers import DRIVERS, load
from core.clock import system_clock
from core.direction import Direction
from core.errors import InvalidError
from ven.devices import make_driver
from ven.household import Household, Programme, Settings
from ven.rules import lever, order_of

_MOST_BYTES: Final = 200_000
_MOST_NODES: Final = 50_000
_MOST_NESTED: Final = 50
_MOST_FAULTS: Final = 20
Path_ = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: `line` and `column` count from 1, 0 means the file as a whole."""

    file: Path
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}" if self.line else f"{self.file}: {self.text}"


class HouseholdError(InvalidError):
    """A household file cannot be used; `faults` says why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        shown = [str(fault) for fault in faults[:_MOST_FAULTS]]
        if len(faults) > _MOST_FAULTS:
            shown.append(f"... and {len(faults) - _MOST_FAULTS} more.")
        super().__init__("\n".join(shown))
        self.faults = tuple(faults)


def load_household(path: Path) -> Household:
    """Read and check a household file. Relative paths in it are taken from its own folder. Raises HouseholdError."""
    tree = _parse(path)
    if not isinstance(tree, dict):
        raise HouseholdError([Fault(path, 1, 1, "A household file is a mapping that starts with `version: 1`.")])
    try:
        household = Household.model_validate(_plain(path, tree))
    except ValidationError as error:
        raise HouseholdError(_faults(path, tree, error, ())) from error
    faults = list(_check(path, tree, household))
    if faults:
        raise HouseholdError(faults)
    return _anchored(household, path.resolve().parent)


def _parse(path: Path) -> Any:
    try:
        text = path.read_bytes()
        if len(text) > _MOST_BYTES:
            raise HouseholdError([Fault(path, 0, 0, f"The file is longer than {_MOST_BYTES} bytes.")])
        if _nested(text) > _MOST_NESTED:
            raise HouseholdError([Fault(path, 0, 0, "The file is nested or repeated beyond any household.")])
        return YAML(typ="rt").load(text.decode("utf-8"))
    except OSError as error:
        raise HouseholdError([Fault(path, 0, 0, f"The file cannot be read: {error.strerror}.")]) from error
    except UnicodeDecodeError as error:
        raise HouseholdError([Fault(path, 0, 0, f"The file is not UTF-8: {error}.")]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise HouseholdError([Fault(path, line, column, str(error.problem or error.context or "not YAML"))]) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise HouseholdError([Fault(path, 0, 0, f"The file is not YAML: {error}.")]) from error


def _nested(text: bytes) -> int:
    """Return how deep brackets are nested at most, those in strings and comments included; costs the parser dearly."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _plain(path: Path, tree: Any) -> Any:
    """Return plain lists and dicts; a file that grows without end through aliases is refused."""
    count = 0

    def walk(node: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > _MOST_NODES or depth > _MOST_NESTED:
            raise HouseholdError([Fault(path, 0, 0, "The file is nested or repeated beyond any household.")])
        if isinstance(node, dict):
            return {key: walk(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value, depth + 1) for value in node]
        return node

    return walk(tree, 0)


def _faults(path: Path, tree: Any, error: ValidationError, prefix: Path_) -> list[Fault]:
    return [
        _fault(path, tree, loc := (*prefix, *fault["loc"]), f"{_named(loc)}{_plain_words(fault['msg'])}")
        for fault in error.errors(include_url=False, include_context=False)
    ]


def _named(loc: Sequence[str | int]) -> str:
    names = [str(part) for part in loc if part != "[key]"]  # pydantic's word for a fault in a mapping's key
    return f"{'.'.join(names)}: " if names else ""


def _plain_words(text: str) -> str:
    words = {"Extra inputs are not permitted": "unknown name", "Field required": "is missing"}
    return words.get(text, text.removeprefix("Value error, "))


def _fault(path: Path, tree: Any, loc: Path_, text: str) -> Fault:
    line, column = _place(tree, loc)
    return Fault(path, line, column, text)


def _place(tree: Any, loc: Path_) -> tuple[int, int]:
    """Return line and column of the deepest part of `loc` that the file holds (unions add parts that it does not)."""
    line, column = 0, 0
    node = tree
    for part in loc:
        try:
            if isinstance(node, dict) and part in node:
                line, column = node.lc.key(part)  # type: ignore[attr-defined]  # ruamel's mapping knows its lines
            elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                line, column = node.lc.item(part)  # type: ignore[attr-defined]
            else:
                continue
        except (AttributeError, KeyError, TypeError):
            break
        node = node[part]
    return line + 1, column + 1


def _check(path: Path, tree: Any, household: Household) -> Iterator[Fault]:
    """Yield what the models alone cannot see: driver options, ids that name nothing, values that no device knows."""
    devices: dict[str, Device] = {}
    for index, entry in enumerate(household.devices):
        where: Path_ = ("devices", index)
        if entry.id in devices:
            yield _fault(path, tree, (*where, "id"), f"There are two devices '{entry.id}'.")
        try:
            driver = load(entry.driver)
        except InvalidError as error:
            yield _fault(path, tree, (*where, "driver"), str(error))
            continue
        try:
            household.connection_name(entry, driver.CONNECTION)
        except InvalidError as error:
            yield _fault(path, tree, (*where, "connection"), str(error))
        try:
            driver.Options.model_validate(entry.options)
            devices[entry.id] = make_driver(entry, NoConnection(), system_clock()).describe()
        except ValidationError as error:
            yield from _faults(path, tree, error, (*where, "with"))
        except InvalidError as error:
            yield _fault(path, tree, (*where, "capabilities"), str(error))
    known = {entry.id for entry in household.devices}
    yield from _check_resources(path, tree, household, known)
    for index, programme in enumerate(household.programmes):
        for loc, text in _check_programme(programme, household, known, devices):
            yield _fault(path, tree, ("programmes", index, *loc), text)


def _check_resources(path: Path, tree: Any, household: Household, known: set[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, resource in enumerate(household.resources):
        if resource.id in seen:
            yield _fault(path, tree, ("resources", index, "id"), f"There are two resources '{resource.id}'.")
        seen.add(resource.id)
        if resource.meter is not None and resource.meter not in known:
            yield _fault(path, tree, ("resources", index, "meter"), f"There is no device '{resource.meter}'.")
        for place, name in enumerate(resource.devices):
            if name not in known:
                yield _fault(path, tree, ("resources", index, "devices", place), f"There is no device '{name}'.")


def _check_programme(
    programme: Programme, household: Household, known: set[str], devices: dict[str, Device]
) -> Iterator[tuple[Path_, str]]:
    for loc, name, settings in _uses(programme):
        if name not in known:
            yield loc, f"There is no device '{name}'."
            continue
        device = devices.get(name)
        if device is None:
            continue
        if settings is None:
            entry = household.device(name)
            if entry is None or entry.nominal_w is None:
                yield loc, f"Device '{name}' needs `nominal_w`: how much does it draw?"
            if not device.capabilities:
                yield loc, f"Device '{name}' cannot be controlled."
            elif loc[0] == "increase" and lever(device, Direction.INCREASE) is None:
                yield loc, f"Device '{name}' cannot be switched on."
            continue
        for capability, value in settings.items():
            yield from (((*loc, capability), text) for text in _unfit(device, capability, value))


def _uses(programme: Programme) -> Iterator[tuple[Path_, str, Settings | None]]:
    """Yield (place, device, settings) of every mention of a device; settings None in an order."""
    for level, table in (programme.levels or {}).items():
        for name, settings in table.items():
            yield ("levels", level, name), name, settings
    for key, direction in (("shed", Direction.REDUCE), ("increase", Direction.INCREASE)):
        for index, name in enumerate(order_of(programme, direction)):
            yield (key, "order", index), name, None
    for index, rule in enumerate(programme.prices or ()):
        for name, settings in rule.do.items():
            yield ("prices", index, "do", name), name, settings


def _unfit(device: Device, name: CapabilityKind, value: float | str) -> Iterator[str]:
    capability = device.capability(name)
    if capability is None:
        names = ", ".join(one.name for one in device.capabilities) or "nothing"
        yield f"Device '{device.id}' has no {name}; it has {names}."
    elif capability.values:
        if value not in capability.values:
            yield f"{name} of '{device.id}' is {' or '.join(capability.values)}, not {value}."
    elif isinstance(value, str) and not (value == "floor" and capability.floor is not None):
        unit = f" of {capability.unit}" if capability.unit else ""
        yield f"{name} of '{device.id}' is a number{unit}, not '{value}'."


def _anchored(household: Household, folder: Path) -> Household:
    """Return the household with its own paths made absolute."""
    changes: dict[str, Any] = {
        name: folder / value
        for name in ("identity", "state", "clock", "log_file")
        if (value := getattr(household, name))
    }
    if household.mqtt is not None:
        changes["mqtt"] = household.mqtt.anchored(folder)
    changes["connections"] = {name: options.anchored(folder) for name, options in household.connections.items()}
    return household.model_copy(update=changes)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a household file, with the options of every driver."""
    whole = Household.model_json_schema(by_alias=True)
    definitions = whole["$defs"]
    entry = definitions.pop("DeviceEntry")
    variants = []
    for name in sorted(DRIVERS):
        options = load(name).Options.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}.{{model}}")
        definitions |= {f"{name}.{key}": value for key, value in options.pop("$defs", {}).items()}
        fields = entry["properties"] | {"driver": {"const": name}, "with": options}
        variants.append({**entry, "title": f"A device of the driver {name}", "properties": fields})
    definitions["DeviceEntry"] = {"anyOf": variants}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
