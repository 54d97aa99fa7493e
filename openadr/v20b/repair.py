"""Mending of known deviations of fielded peers, on the parsed tree, before the XSD judges a second time.

No value is invented: what is added can only be what it is. Nothing is removed but what says nothing. So what is unknown
stays invalid.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Final

from lxml import etree
from lxml.etree import _Element

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.signal import WELL_KNOWN_SIGNALS
from openadr.v20b import names as n
from openadr.v20b.schema import XS, schema_files


class Repair(StrEnum):
    """What can be mended."""

    SCHEMA_VERSION = "unqualified schemaVersion"
    ELEMENT_ORDER = "order of elements"
    REQUEST_ID = "missing requestID"
    WEEKS = "weeks in a duration"
    UTC_OFFSET = "UTC offset instead of Z"
    SIGNAL_CASE = "case of a signal name"
    NUMBER_SPELLING = "spelling of NaN or INF"
    WHITE_SPACE = "white space around a value"
    NAMESPACE = "namespace of an element"
    METADATA_ID = "missing reportRequestID of metadata"
    UNDECIDED = "answer to an event without a decision"


def repair(payload: _Element) -> frozenset[Repair]:
    """Mend what is known to be mendable, in place. Return what was."""
    repairs: set[Repair] = set()
    if _drop_undecided(payload):
        repairs.add(Repair.UNDECIDED)
    for element in list(payload.iter("*")):
        if _qualify_version(element):
            repairs.add(Repair.SCHEMA_VERSION)
        mender = _MENDERS.get(n.tag_of(element))
        if mender is None or len(element):
            repairs |= _arrange(element)
        elif element.text:
            kind, mend = mender
            trimmed = element.text.strip()
            mended = mend(trimmed)
            if mended != trimmed:
                repairs.add(kind)
            elif trimmed != element.text:
                repairs.add(Repair.WHITE_SPACE)
            element.text = mended
    return frozenset(repairs)


def _drop_undecided(payload: _Element) -> bool:
    """Take out each eventResponse of 200 whose optType is `none`: the VEN has the event and will decide later (EV-47).

    The event stays unanswered. Descendants of VOLTTRON's VEN say so to every new event, and lose it if that is refused.
    """
    undecided = [
        (responses, answer)
        for responses in payload.iter(n.EVENT_RESPONSES)
        for answer in responses
        if _text(answer, n.OPT_TYPE) == "none" and _text(answer, n.RESPONSE_CODE) == "200"
    ]
    for responses, answer in undecided:
        responses.remove(answer)
        if not len(responses) and (parent := responses.getparent()) is not None:
            parent.remove(responses)
    return bool(undecided)


def _text(element: _Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _qualify_version(element: _Element) -> bool:
    version = element.attrib.pop("schemaVersion", None)
    if version is None:
        return False
    if n.SCHEMA_VERSION not in element.attrib:
        element.set(n.SCHEMA_VERSION, version)
    return True


def _arrange(element: _Element) -> set[Repair]:
    """Put the children into their namespaces and into the order of the XSD, unknown ones last, and add a missing id."""
    repairs: set[Repair] = set()
    places = child_places().get(n.tag_of(element))
    if places is None:
        return repairs
    if _rename(element, places):
        repairs.add(Repair.NAMESPACE)
    order = [places.get(n.tag_of(child), len(places)) for child in element]
    if order != sorted(order):
        repairs.add(Repair.ELEMENT_ORDER)
    for kind, name, text in _missing_ids(element, places):
        repairs.add(kind)
        etree.SubElement(element, name).text = text
        order.append(places[name])
    if repairs:
        element[:] = [child for _, child in sorted(zip(order, element, strict=True), key=lambda pair: pair[0])]
    return repairs


def _rename(element: _Element, places: Mapping[str, int]) -> bool:
    """Give children the namespace in which the XSD has an element of their name here, if it is but one."""
    strays = [child for child in element if n.tag_of(child) not in places]
    if not strays or n.tag_of(element) in _ENVELOPE:
        return False
    homes: dict[str, list[str]] = {}
    for name in places:
        homes.setdefault(name.rpartition("}")[2], []).append(name)
    renamed = False
    for child in strays:
        names = homes.get(n.name_of(child), [])
        if len(names) == 1:
            child.tag = names[0]
            renamed = True
    return renamed


def _missing_ids(element: _Element, places: Mapping[str, int]) -> Iterator[tuple[Repair, str, str]]:
    """Yield name and text of each id that is missing and can only be one: empty, or 0 for metadata (RP-06)."""
    if n.REQUEST_ID in places and element.find(n.REQUEST_ID) is None:
        yield Repair.REQUEST_ID, n.REQUEST_ID, ""
    parent = element.getparent()
    is_metadata = n.tag_of(element) == n.REPORT and parent is not None and n.tag_of(parent) == _REGISTER_REPORT
    if is_metadata and element.find(n.REPORT_REQUEST_ID) is None:
        yield Repair.METADATA_ID, n.REPORT_REQUEST_ID, "0"


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


def _number(text: str) -> str:
    return _NUMBERS.get(text.lower(), text)


def _trimmed(text: str) -> str:
    return text


_ENVELOPE: Final = (n.PAYLOAD, n.SIGNED_OBJECT)
_REGISTER_REPORT: Final = n.clark("oadr:oadrRegisterReport")
_NUMBERS: Final = {"nan": "NaN", "inf": "INF", "+inf": "INF", "-inf": "-INF", "infinity": "INF", "-infinity": "-INF"}
"""How programming languages write what xs:float calls NaN, INF and -INF."""

_MENDERS: Final[Mapping[str, tuple[Repair, Callable[[str], str]]]] = {
    n.DURATION: (Repair.WEEKS, _duration),
    n.clark("xcal:startafter"): (Repair.WEEKS, _duration),
    n.clark("oadr:oadrMinPeriod"): (Repair.WEEKS, _duration),
    n.clark("oadr:oadrMaxPeriod"): (Repair.WEEKS, _duration),
    n.DATE_TIME: (Repair.UTC_OFFSET, _instant),
    n.CREATED_DATE_TIME: (Repair.UTC_OFFSET, _instant),
    n.MODIFICATION_DATE_TIME: (Repair.UTC_OFFSET, _instant),
    n.SIGNAL_NAME: (Repair.SIGNAL_CASE, _signal_name),
    n.VALUE: (Repair.NUMBER_SPELLING, _number),
    n.ACCURACY: (Repair.NUMBER_SPELLING, _number),
    n.RESPONSE_CODE: (Repair.WHITE_SPACE, _trimmed),
    n.RESPONSE_REQUIRED: (Repair.WHITE_SPACE, _trimmed),
    n.clark("scale:siScaleCode"): (Repair.WHITE_SPACE, _trimmed),
}
"""What to do to the text, cut at both ends, of a leaf, and what that mends."""


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
