"""Mending of known deviations of fielded peers, on the parsed tree, before the XSD judges a second time.

Mended are: an unqualified schemaVersion, the order of children, a missing requestID, weeks in durations, UTC offsets in
place of Z, the case of signal names, and white space around values that are plain strings to the XSD. Nothing is
removed and no value is invented, so what is unknown stays invalid.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Final

from lxml import etree
from lxml.etree import _Element

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.signal import WELL_KNOWN_SIGNALS
from openadr.v20b import names as n
from openadr.v20b.schema import XS, schema_files


def repair(payload: _Element) -> bool:
    """Mend what is known to be mendable, in place. Return whether anything was changed."""
    changed = False
    for element in list(payload.iter("*")):
        changed |= _qualify_version(element)
        mend = _MENDERS.get(n.tag_of(element))
        if mend is None or len(element):
            changed |= _arrange(element)
        elif element.text:
            mended = mend(element.text.strip())
            changed |= mended != element.text
            element.text = mended
    return changed


def _qualify_version(element: _Element) -> bool:
    version = element.attrib.pop("schemaVersion", None)
    if version is None:
        return False
    if n.SCHEMA_VERSION not in element.attrib:
        element.set(n.SCHEMA_VERSION, version)
    return True


def _arrange(element: _Element) -> bool:
    """Add a missing requestID and put the children into the order of the XSD; unknown ones go last."""
    places = child_places().get(n.tag_of(element))
    if places is None:
        return False
    added = n.REQUEST_ID in places and element.find(n.REQUEST_ID) is None
    if added:
        etree.SubElement(element, n.REQUEST_ID)
    order = [places.get(n.tag_of(child), len(places)) for child in element]
    if order == sorted(order):
        return added
    element[:] = [child for _, child in sorted(zip(order, element, strict=True), key=lambda pair: pair[0])]
    return True


def _duration(text: str) -> str:
    try:
        return str(Duration.parse(text)) if "W" in text else text
    except InvalidError:
        return text


def _instant(text: str) -> str:
    if text.endswith("Z") or "T" not in text:
        return text
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            return text
        return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    except (ValueError, OverflowError):
        return text


def _signal_name(text: str) -> str:
    return text.upper() if text.upper() in WELL_KNOWN_SIGNALS else text


def _trimmed(text: str) -> str:
    return text


_MENDERS: Final[Mapping[str, Callable[[str], str]]] = {
    n.DURATION: _duration,
    n.clark("xcal:startafter"): _duration,
    n.clark("oadr:oadrMinPeriod"): _duration,
    n.clark("oadr:oadrMaxPeriod"): _duration,
    n.DATE_TIME: _instant,
    n.CREATED_DATE_TIME: _instant,
    n.MODIFICATION_DATE_TIME: _instant,
    n.SIGNAL_NAME: _signal_name,
    n.RESPONSE_CODE: _trimmed,
    n.RESPONSE_REQUIRED: _trimmed,
    n.clark("scale:siScaleCode"): _trimmed,
}
"""What to do to the text, cut at both ends, of a leaf."""


@cache
def child_places() -> Mapping[str, Mapping[str, int]]:
    """Return, for every element that has children, the place of each child, as the XSD set says.

    An element that stands for another (substitutionGroup) has that one's place. Element names with two types (the
    outer and inner duration, the two components) have children in one of them only, so that a name is enough as key.
    """
    roots = schema_files()
    types = {_own_name(one): one for root in roots for one in root.iterchildren(f"{XS}complexType")}
    heads = {
        _own_name(one): _resolved(one, group)
        for root in roots
        for one in root.iterchildren(f"{XS}element")
        if (group := one.get("substitutionGroup")) is not None
    }
    places: dict[str, dict[str, int]] = {}
    for root in roots:
        for element in root.iter(f"{XS}element"):
            inline = element.find(f"{XS}complexType")
            kind = inline if inline is not None else types.get(_resolved(element, element.get("type", "")))
            if kind is None or element.get("name") is None:
                continue
            places.setdefault(_own_name(element), {}).update(
                (name, place) for place, name in enumerate(_children(kind, types))
            )
    for of in places.values():
        of.update({name: of[head] for name in heads if (head := _topmost(name, heads, of)) is not None})
    return places


def _children(kind: _Element, types: Mapping[str, _Element]) -> Iterator[str]:
    """Yield the names of the children that a complexType allows, in order: first those of what it extends."""
    for extension in kind.iter(f"{XS}extension"):
        base = types.get(_resolved(extension, extension.get("base", "")))
        if base is not None:
            yield from _children(base, types)
    for element in kind.iter(f"{XS}element"):
        if next(element.iterancestors(f"{XS}complexType"), None) is kind:
            reference = element.get("ref")
            yield _resolved(element, reference) if reference is not None else _own_name(element)


def _topmost(name: str, heads: Mapping[str, str], among: Mapping[str, int]) -> str | None:
    head = heads.get(name)
    while head is not None and head not in among:
        head = heads.get(head)
    return head


def _own_name(declaration: _Element) -> str:
    namespace = declaration.getroottree().getroot().get("targetNamespace")
    return f"{{{namespace}}}{declaration.get('name')}"


def _resolved(declaration: _Element, qualified: str) -> str:
    prefix, _, local = qualified.rpartition(":")
    return f"{{{declaration.nsmap.get(prefix or None)}}}{local}"
