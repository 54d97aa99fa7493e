"""Encoding of what several messages share: responses, targets, units."""

from typing import Final

from core.errors import InvalidError
from openadr.model.target import Target
from openadr.model.units import SCALES, ItemBase
from openadr.v20b.messages import Response
from openadr.v20b.writing import decimal, escape, flag, leaf, leaves, number, optional

_HIGHEST_CODE: Final = 999


def response(message: Response) -> str:
    """Write an eiResponse."""
    return f"<ei:eiResponse>{response_parts(message.code, message.description, message.request_id)}</ei:eiResponse>"


def response_parts(code: int, description: str | None, request_id: str) -> str:
    """Write the three parts that eiResponse and eventResponse have in common."""
    if not 0 <= code <= _HIGHEST_CODE:
        raise InvalidError(f"{code} is no three-digit response code.")
    return (
        f"<ei:responseCode>{int(code):03d}</ei:responseCode>{optional('ei:responseDescription', description)}"
        f"<pyld:requestID>{escape(request_id)}</pyld:requestID>"
    )


def target(tag: str, target: Target) -> str:
    """Write an element of EiTargetType, in the order of the XSD."""
    if not target:
        return f"<{tag}/>"
    assets = "".join(_mrid("endDeviceAsset", name) for name in target.device_classes)
    for name, _ in target.other:
        if name not in _OTHER:
            raise InvalidError(f"'{name}' is no criterion of an eiTarget.")
    grid = {name: "".join(_OTHER[name](name, text) for key, text in target.other if key == name) for name in _OTHER}
    return (
        f"<{tag}>{grid.pop('aggregatedPnode')}{assets}{''.join(grid.values())}"
        f"{leaves('ei:groupID', target.group_ids)}{leaves('ei:groupName', target.group_names)}"
        f"{leaves('ei:resourceID', target.resource_ids)}{leaves('ei:venID', target.ven_ids)}"
        f"{leaves('ei:partyID', target.party_ids)}</{tag}>"
    )


def optional_target(tag: str, targeted: Target) -> str:
    """Write a target, or nothing if it names nothing."""
    return target(tag, targeted) if targeted else ""


def _mrid(name: str, text: str) -> str:
    return f"<power:{name}>{leaf('power:mrid', text)}</power:{name}>"


def _node(name: str, text: str) -> str:
    return f"<power:{name}>{leaf('power:node', text)}</power:{name}>"


def _area(name: str, text: str) -> str:
    try:
        numbers = " ".join(number(float(part)) for part in text.split())
    except ValueError:
        raise InvalidError(f"The {name} of a target is a list of coordinates, not '{text[:40]}'.") from None
    tag = f"emix:{name}" if name == "serviceArea" else f"power:{name}"
    inner = f"<gml:posList>{numbers}</gml:posList>"
    for wrapper in ("LinearRing", "exterior", "Polygon", "location", "FeatureCollection"):
        inner = f"<gml:{wrapper}>{inner}</gml:{wrapper}>"
    return f"<{tag}>{inner}</{tag}>"


def _transport(name: str, text: str) -> str:
    receipt, _, delivery = text.partition("\n")
    return (
        f"<power:{name}>{leaf('power:pointOfReceipt', receipt)}{leaf('power:pointOfDelivery', delivery)}</power:{name}>"
    )


_OTHER: Final = {
    "aggregatedPnode": _node,
    "meterAsset": _mrid,
    "pnode": _node,
    "serviceArea": _area,
    "serviceDeliveryPoint": _node,
    "serviceLocation": _area,
    "transportInterface": _transport,
}
"""The grid criteria in the order of the XSD; endDeviceAsset comes after the first."""

# name -> (prefix, itemDescription or None for free text, allowed itemUnits or None for free text)
_UNITS: Final[dict[str, tuple[str, str | None, tuple[str, ...] | None]]] = {
    "voltage": ("power", "Voltage", ("V",)),
    "energyApparent": ("power", "ApparentEnergy", ("VAh",)),
    "energyReactive": ("power", "ReactiveEnergy", ("VARh",)),
    "energyReal": ("power", "RealEnergy", ("Wh",)),
    "powerApparent": ("power", "ApparentPower", ("VA",)),
    "powerReactive": ("power", "ReactivePower", ("VAR",)),
    "powerReal": ("power", "RealPower", ("W", "J/s")),
    "current": ("oadr", "Current", ("A",)),
    "frequency": ("oadr", "Frequency", ("Hz",)),
    "Therm": ("oadr", "Therm", ("thm",)),
    "temperature": ("oadr", "temperature", ("celsius", "fahrenheit")),
    "pulseCount": ("oadr", "pulse count", ("count",)),
    "currency": ("oadr", None, None),
    "currencyPerKWh": ("oadr", None, None),
    "currencyPerKW": ("oadr", None, None),
    "currencyPerThm": ("oadr", None, None),
    "customUnit": ("oadr", None, None),
}


def item_base(parts: ItemBase | None) -> str:
    """Write an itemBase, or nothing for None. Raises InvalidError for a unit or scale that the XSD does not know."""
    if parts is None:
        return ""
    try:
        prefix, description, units = _UNITS[parts.name]
    except KeyError:
        raise InvalidError(f"'{parts.name}' is no itemBase that can be written.") from None
    if units is not None and parts.units not in units:
        raise InvalidError(f"{parts.name} is in {' or '.join(units)}, not '{parts.units}'.")
    if parts.name == "pulseCount":
        scale = leaf("oadr:pulseFactor", number(parts.pulse_factor if parts.pulse_factor is not None else 1.0))
    elif parts.scale in SCALES:
        scale = leaf("scale:siScaleCode", parts.scale)
    else:
        raise InvalidError(f"'{parts.scale}' is no SI scale code.")
    return (
        f"<{prefix}:{parts.name}>{leaf(f'{prefix}:itemDescription', description or parts.description)}"
        f"{leaf(f'{prefix}:itemUnits', parts.units)}{scale}{_power_attributes(parts)}</{prefix}:{parts.name}>"
    )


def _power_attributes(item_base: ItemBase) -> str:
    if not item_base.name.startswith("power"):
        return ""
    if item_base.power is None:
        raise InvalidError(f"{item_base.name} needs powerAttributes.")
    return (
        f"<power:powerAttributes><power:hertz>{decimal(item_base.power.hertz)}</power:hertz>"
        f"<power:voltage>{decimal(item_base.power.voltage)}</power:voltage>"
        f"<power:ac>{flag(item_base.power.ac)}</power:ac></power:powerAttributes>"
    )
