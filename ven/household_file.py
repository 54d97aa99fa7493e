"""Reading `household.yaml`: every fault is named with file, line and column."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic.json_schema import GenerateJsonSchema

from bridges.connections import NoConnection
from bridges.device import CapabilityKind, Device
from bridges.drivers import load, sources
from bridges.yaml_file import Fault, FileError, Place, YamlFile
from core.clock import system_clock
from core.direction import Direction
from core.errors import InvalidError
from core.fault_words import near_words
from core.spans import Duration
from openadr.model.signal import SIGNAL_TABLE
from ven.devices import make_driver
from ven.household import CapabilityWords, DeviceEntry, Household, Programme
from ven.levers import capability_of, levers, shifted_value
from ven.rules import SITE_SIGNALS, WATT_SIGNALS, order_of
from ven.site_limits import metering_points

_LONGEST_TEXT: Final = 200


def load_household(path: Path) -> Household:
    """Read and check a household file. Relative paths in it are taken from its own folder. Raises FileError."""
    file = YamlFile(path, "household")
    try:
        household = Household.model_validate(file.values)
    except ValidationError as error:
        raise FileError(file.faults(error, model=Household)) from error
    household = _anchored(household, path.resolve().parent)
    faults = list(_check(file, household))
    if faults:
        raise FileError(faults)
    return household


def _check(file: YamlFile, household: Household) -> Iterator[Fault]:
    """Yield what the models alone cannot see: driver options, ids that name nothing, values that no device knows."""
    devices: dict[str, Device] = {}
    for index, entry in enumerate(household.devices):
        where: Place = ("devices", index)
        if entry.id in devices:
            yield file.fault((*where, "id"), f"There are two devices '{entry.id}'.")
        try:
            driver = load(entry.driver, household.templates)
        except InvalidError as error:
            yield file.fault((*where, "driver"), str(error))
            continue
        try:
            household.connection_name(entry, driver.CONNECTION)
        except InvalidError as error:
            yield file.fault((*where, "connection"), str(error))
        try:
            driver.Options.model_validate(entry.options)
            devices[entry.id] = make_driver(entry, driver, NoConnection(), system_clock()).describe()
        except ValidationError as error:
            yield from file.faults(error, (*where, "with"), driver.Options)
        except InvalidError as error:
            yield file.fault((*where, "capabilities"), str(error))
    known = {entry.id for entry in household.devices}
    yield from _check_comforts(file, household, devices)
    yield from _check_resources(file, household, known)
    yield from _check_copies(file, household)
    for index, programme in enumerate(household.programmes):
        for loc, text in _check_programme(programme, household, known, devices):
            yield file.fault(("programmes", index, *loc), text)


def _check_comforts(file: YamlFile, household: Household, devices: dict[str, Device]) -> Iterator[Fault]:
    names = {entry.id for entry in household.devices}
    for index, entry in enumerate(household.devices):
        for loc, text in _check_comfort(entry, devices, names):
            yield file.fault(("devices", index, "comfort", *loc), text)


def _check_comfort(entry: DeviceEntry, devices: dict[str, Device], names: set[str]) -> Iterator[tuple[Place, str]]:
    for index, rule in enumerate(entry.comfort):
        other, point = rule.reading()
        owner = entry.id if other is None else other
        if owner not in names:
            yield (index, "when"), _absent(owner, names)
        elif owner in devices and f"{owner}.{point}" not in {each.id for each in devices[owner].points}:
            points = ", ".join(each.id.removeprefix(f"{owner}.") for each in devices[owner].points) or "none"
            yield (index, "when"), f"Device '{owner}' reads no {point}; it reads {points}."
        device = devices.get(entry.id)
        for name in rule.release if device is not None else ():
            if device is not None and device.capability(name) is None:
                yield (index, "release"), f"Device '{entry.id}' has no {name}."


def _check_copies(file: YamlFile, household: Household) -> Iterator[Fault]:
    for index, copy in enumerate(household.copies):
        if copy.id in {other.id for other in household.copies[:index]}:
            yield file.fault(("copies", index, "id"), f"There are two copies '{copy.id}'.")
        try:
            household.broker_name(copy.connection, f"the copy {copy.id}")
        except InvalidError as error:
            yield file.fault(("copies", index, "connection"), str(error))
    if household.heartbeat is not None:
        try:
            household.broker_name(household.heartbeat.connection, "the heartbeat")
        except InvalidError as error:
            yield file.fault(("heartbeat", "connection"), str(error))


def _check_resources(file: YamlFile, household: Household, names: set[str]) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, resource in enumerate(household.resources):
        if resource.id in seen:
            yield file.fault(("resources", index, "id"), f"There are two resources '{resource.id}'.")
        seen.add(resource.id)
        if resource.meter is not None and resource.meter not in names:
            yield file.fault(("resources", index, "meter"), _absent(resource.meter, names))
        for place, name in enumerate(resource.devices):
            if name not in names:
                yield file.fault(("resources", index, "devices", place), _absent(name, names))


def _absent(name: str, names: Collection[str]) -> str:
    return f"There is no device '{name}'{near_words(name, sorted(names)) or '.'}"


def _check_match(programme: Programme) -> Iterator[tuple[Place, str]]:
    """Yield why no event could ever match a programme, or be one that its rule can answer."""
    match, rule = programme.match, programme.rule
    types = [kind for name, kind in SIGNAL_TABLE if name == match.signal]
    if match.type is not None and types and match.type not in types:
        near = near_words(match.type, types) or f"; there are {', '.join(types)}"
        yield ("match", "type"), f"{match.signal} has no type {match.type}{near}"
        return
    wanted = {"shed": WATT_SIGNALS, "increase": WATT_SIGNALS, "site": SITE_SIGNALS}.get(rule)
    if wanted is not None and not any(match.signal == name and match.type in (None, kind) for name, kind in wanted):
        signals = ", ".join(f"{name}/{kind}" for name, kind in sorted(wanted))
        yield ("match",), f"No event would use this: {rule} answers {signals}."
    for level in programme.levels or () if match.signal == "SIMPLE" else ():
        if not SIGNAL_TABLE["SIMPLE", "level"][1](level):
            yield ("levels", level), f"SIMPLE has the levels 1, 2 and 3, and 0 for none; {level} never comes."


def _check_programme(
    programme: Programme, household: Household, names: set[str], devices: dict[str, Device]
) -> Iterator[tuple[Place, str]]:
    yield from _check_match(programme)
    for loc, name, settings in _uses(programme):
        if name not in names:
            yield loc, _absent(name, names)
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
            elif not levers(device, direction := _direction(programme, loc)):
                way = "more" if direction is Direction.INCREASE else "less"
                yield loc, f"Nothing makes device '{name}' draw {way}: say what to tell it, with do and changes_w."
            continue
        for capability, value in settings.items():
            yield from (((*loc, capability), text) for text in _unfit(device, capability, value))
    yield from _check_follow(programme, names, devices)
    if programme.site is not None:
        yield from _check_meter(programme.site.meter, names, devices)


def _direction(programme: Programme, loc: Place) -> Direction:
    """Return which way an order changes what its devices draw."""
    more = loc[0] == "increase" or (loc[0] == "site" and programme.site is not None and programme.site.feed_in)
    return Direction.INCREASE if more else Direction.REDUCE


def _check_meter(meter: str, names: set[str], devices: dict[str, Device]) -> Iterator[tuple[Place, str]]:
    if meter not in names:
        yield ("site", "meter"), _absent(meter, names)
    elif meter in devices and not metering_points(devices[meter]):
        yield ("site", "meter"), f"Device '{meter}' measures neither power nor energy of the site."


def _check_follow(programme: Programme, names: set[str], devices: dict[str, Device]) -> Iterator[tuple[Place, str]]:
    for name, formulas in (programme.follow or {}).items():
        if name not in names:
            yield ("follow", name), _absent(name, names)
        for kind in formulas if name in devices else ():
            known = capability_of(devices[name], kind)
            if known is None:
                yield ("follow", name, kind), f"Device '{name}' has no {kind}."
            elif known.text:
                yield ("follow", name, kind), f"{kind} of '{name}' is a text, no number."
            elif known.values:
                yield ("follow", name, kind), f"{kind} of '{name}' is {' or '.join(known.values)}, no number."


def _uses(programme: Programme) -> Iterator[tuple[Place, str, CapabilityWords | None]]:
    """Yield (place, device, settings) of every mention of a device; settings None in an order."""
    for level, table in (programme.levels or {}).items():
        for name, settings in table.items():
            yield ("levels", level, name), name, settings
    for key, direction in (("shed", Direction.REDUCE), ("increase", Direction.INCREASE)):
        for index, step in enumerate(order_of(programme, direction)):
            yield (key, "order", index), step.device, step.do
    for index, step in enumerate(programme.site.order if programme.site is not None else ()):
        yield ("site", "order", index), step.device, step.do
    for index, rule in enumerate(programme.prices or ()):
        for name, settings in rule.do.items():
            yield ("prices", index, "do", name), name, settings


def _unfit(device: Device, name: CapabilityKind, value: float | str) -> Iterator[str]:
    capability = capability_of(device, name)
    if capability is None:
        names = ", ".join(one.name for one in device.capabilities) or "nothing"
        yield f"Device '{device.id}' has no {name}; it has {names}."
    elif capability.text:
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            yield f"{name} of '{device.id}' is a text of {_LONGEST_TEXT} characters at most; put it in quotes."
    elif capability.values:
        if value not in capability.values:
            yield f"{name} of '{device.id}' is {' or '.join(capability.values)}, not {value}."
    elif value != "floor" or capability.floor is None:
        unit = f" {capability.unit}" if capability.unit else ""
        try:
            number = shifted_value(capability, value) if isinstance(value, str) else value
        except InvalidError:
            yield f"{name} of '{device.id}' is a number{f' of{unit}' if unit else ''}, not '{value}'."
            return
        low, high = capability.low, capability.high  # a floor raises what is asked; bounds are the device's own
        if (low is not None and number < low) or (high is not None and number > high):
            yield f"{name} of '{device.id}' is {_span(low, high)}{unit}, not {value}."


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"{high:g} at most"
    return f"{low:g} at least" if high is None else f"{low:g} to {high:g}"


def _anchored(household: Household, folder: Path) -> Household:
    """Return the household with its own paths made absolute."""
    changes: dict[str, Any] = {
        name: folder / value
        for name in ("identity", "state", "clock", "log_file", "templates")
        if (value := getattr(household, name))
    }
    if household.mqtt is not None:
        changes["mqtt"] = household.mqtt.anchored(folder)
    changes["connections"] = {name: options.anchored(folder) for name, options in household.connections.items()}
    return household.model_copy(update=changes)


class _SchemaWriter(GenerateJsonSchema):
    """Writes defaults as they look in a file."""

    def encode_default(self, dft: Any) -> Any:
        """Return a default as a JSON value."""
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)


def schema(templates: Path | None = None) -> dict[str, Any]:
    """Return the JSON Schema of a household file, with the options of every driver and of the templates there.

    Raises InvalidError for a template that is no good.
    """
    whole = Household.model_json_schema(by_alias=True, schema_generator=_SchemaWriter)
    definitions = whole["$defs"]
    entry = definitions.pop("DeviceEntry")
    variants = []
    for name, source in sources(templates).items():
        options = source.load().Options.model_json_schema(
            by_alias=True, ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_SchemaWriter
        )
        definitions |= {f"{name}.{key}": value for key, value in options.pop("$defs", {}).items()}
        fields = entry["properties"] | {"driver": {"const": name}, "with": options}
        variants.append({**entry, "title": f"A device of the driver {name}", "properties": fields})
    definitions["DeviceEntry"] = {"anyOf": variants}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
