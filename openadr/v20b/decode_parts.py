"""Decoding of what several messages share: responses, targets, units, periods, opts' and events' intervals."""

from collections.abc import Callable
from typing import Final, TypeAlias

from lxml.etree import _Element

from openadr.model.target import EVERYTHING, Target
from openadr.model.units import ItemBase, PowerAttributes
from openadr.v20b import names as n
from openadr.v20b.messages import Message, Response
from openadr.v20b.reading import flag, number, optional, parts, string, token, whole

Reader: TypeAlias = Callable[[_Element], Message]
"""Turns a schema-valid message element into its value."""

_POWER_ATTRIBUTES_AT: Final = 3


def response(element: _Element) -> Response:
    """Read an eiResponse."""
    of = parts(element)
    return Response(whole(of[n.RESPONSE_CODE]), optional(of.get(n.RESPONSE_DESCRIPTION)), string(of[n.REQUEST_ID]))


_CRITERIA: Final = {
    n.VEN_ID: "ven_ids",
    n.RESOURCE_ID: "resource_ids",
    n.GROUP_ID: "group_ids",
    n.GROUP_NAME: "group_names",
    n.PARTY_ID: "party_ids",
    n.END_DEVICE_ASSET: "device_classes",
}


def target(element: _Element | None) -> Target:
    """Read an element of EiTargetType. An absent one, and one with only empty criteria, targets everything (EV-67).

    Grid criteria go to `other` by element name: mRID or node as text, a transportInterface as its two nodes on two
    lines, an area as the numbers of its polygon.
    """
    if element is None or len(element) == 0:
        return EVERYTHING
    found: dict[str, list[str]] = {name: [] for name in _CRITERIA.values()}
    other: list[tuple[str, str]] = []
    for child in element:
        leaves = [leaf.text or "" for leaf in child.iter("*") if len(leaf) == 0]
        if not any(leaves):
            continue
        text = "\n".join(leaves)
        if (name := _CRITERIA.get(n.tag_of(child))) is not None:
            found[name].append(text)
        else:
            other.append((n.name_of(child), text))
    return Target(**{name: tuple(values) for name, values in found.items()}, other=tuple(other))


def item_base(parts: dict[str, _Element]) -> ItemBase | None:
    """Read the itemBase among an element's children; None if there is none, or one of a kind that has no unit."""
    tag = next((tag for tag in parts if tag in n.ITEM_BASE_TAGS), None)
    if tag is None:
        return None
    element = parts[tag]
    name = n.name_of(element)
    description, units, scale = token(element[0]), token(element[1]), element[2]
    if name == "pulseCount":
        return ItemBase(name, description, units, pulse_factor=number(scale))
    power = None
    if len(element) > _POWER_ATTRIBUTES_AT:
        hertz, voltage, ac = element[_POWER_ATTRIBUTES_AT]
        power = PowerAttributes(number(hertz), number(voltage), flag(ac))
    return ItemBase(name, description, units, token(scale), power)
