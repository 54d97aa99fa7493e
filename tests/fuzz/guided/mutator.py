"""Changes messages as trees, so that most of them get past the parser, and many past the schema."""

import re
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Final

from lxml import etree
from lxml.etree import _Element

Mutate = Callable[[bytes, int], bytes]
"""Changes bytes, of which at most so many may come out: the fuzzer's own way, which learns from comparisons."""

_NUMBERS: Final = (
    "0", "1", "-1", "-0.0", "1.5", "1e308", "5e-324", "1e999", "NaN", "INF", "-INF", "200", "459", "99999",
    "2147483648", "4294967295", "4294967296",
)  # fmt: skip
_LENGTHS: Final = (
    "P", "PT", "PT0S", "-PT1S", "PT1S", "PT15M", "PT1H", "P1W", "P1M", "P9999Y", "-P9999Y", "P99999Y",
    "PT2147483648S", "PT999999999999999S",
)  # fmt: skip
_TIMES: Final = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00",
    "9999-12-31T24:00:00Z", "-0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-02-30T00:00:00Z",
    "2026-03-02T12:00:00.123456789+14:00", "2026-03-02T12:00:00", "2026-03-02T12:00:00Z", "2026-01-12T12:00:00Z",
    "2026-01-12T13:00:00Z",
)  # fmt: skip
_WORDS: Final = (
    "", " ", "true", "optIn", "optOut", "active", "cancelled", "always", "x-a", "level", "delta", "SIMPLE",
    "LOAD_DISPATCH", "METADATA", "TELEMETRY_USAGE", "HISTORY_USAGE", "2.0b", "\u0663", "a" * 300, "\U0001f50c", "%s",
    "'; --", "http://example.com/dr",
)  # fmt: skip
_ALL: Final = (*_NUMBERS, *_LENGTHS, *_TIMES, *_WORDS)
_KINDS: Final = (
    (re.compile(r"-?\d{4}-\d\d-\d\dT.*"), _TIMES),
    (re.compile(r"-?P\S+"), _LENGTHS),
    (re.compile(r"[-+]?[0-9.]+(e[-+]?\d+)?|NaN|-?INF"), _NUMBERS),
)
"""What a text looks like, and the odd texts of that kind, which get past the schema."""
_XSI: Final = "{http://www.w3.org/2001/XMLSchema-instance}"
_ATTRIBUTES: Final = (
    f"{_XSI}nil", f"{_XSI}type", "Id", "URI", "Algorithm", "{http://openadr.org/oadr-2.0b/2012/07}Id",
    "{http://docs.oasis-open.org/ns/energyinterop/201110}schemaVersion",
)  # fmt: skip
_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
_LEAST_BYTES: Final = 8
_TEXTS_SHARE: Final = 0.65
"""How often a text is changed, not the tree: the schema judges the tree, and what lies behind it the texts."""
_VALUES_SHARE: Final = 0.7
"""How often that is a time, a length or a number, not a word."""


class Mutator:
    """Changes messages; parts come from other ones."""

    def __init__(self, messages: list[bytes]) -> None:
        """`messages`: well-formed ones, from which elements are taken."""
        self._parts: dict[str, list[_Element]] = {}
        for body in messages:
            for part in etree.fromstring(body, _PARSER).iter("*"):
                self._parts.setdefault(part.tag, []).append(part)

    def change(self, body: bytes, most_bytes: int, seed: int, mutate: Mutate) -> bytes:
        """Return another message of at most so many bytes; the same one for the same seed, as far as `mutate` allows.

        What is no XML, and one in sixteen of what is, is changed as bytes.
        """
        random = Random(seed)  # noqa: S311  no secret
        root = None if random.random() < 1 / 16 else _parsed(body)
        if root is None:
            return mutate(body, most_bytes)
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
            self._change_tree(root, random, mutate)
        changed = etree.tostring(root, encoding="utf-8")
        return changed if len(changed) <= most_bytes else mutate(body, most_bytes)

    def _change_tree(self, root: _Element, random: Random, mutate: Mutate) -> None:
        elements = list(root.iter("*"))
        if random.random() < _TEXTS_SHARE:
            leaves = [leaf for leaf in elements if len(leaf) == 0]
            values = [leaf for leaf in leaves if _odd(leaf.text or "") is not _WORDS]
            _text(
                random.choice(values if values and random.random() < _VALUES_SHARE else leaves),
                elements,
                random,
                mutate,
            )
            return
        change = random.choice((_attribute, _drop, _double, _move, _rename, _empty, self._graft))
        change(random.choice(elements), elements, random, mutate)

    def _graft(self, element: _Element, _elements: list[_Element], random: Random, _mutate: Mutate) -> None:
        """Put an element of that name from another message in this one's place, or beside it."""
        same = self._parts.get(element.tag, ())
        parent = element.getparent()
        if not same or parent is None:
            return
        part = deepcopy(random.choice(same))
        part.tail = None
        element.addnext(part)
        if random.random() < 0.7:
            parent.remove(element)


def _parsed(body: bytes) -> _Element | None:
    try:
        return etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError:
        return None


def _text(element: _Element, elements: list[_Element], random: Random, mutate: Mutate) -> None:
    """Change a text: an odd one, that of another element, or what the fuzzer makes of it."""
    kind = random.random()
    if kind < 0.5:
        element.text = random.choice(_odd(element.text or "") if kind < 0.4 else _ALL)
    elif kind < 0.65:
        element.text = random.choice(elements).text
    else:
        element.text = _fuzzed(element.text or "", mutate)


def _odd(text: str) -> tuple[str, ...]:
    """Return odd texts of the kind of this one."""
    return next((odd for likeness, odd in _KINDS if likeness.fullmatch(text)), _WORDS)


def _fuzzed(text: str, mutate: Mutate) -> str:
    """Return a text with the fuzzer's changes, as far as XML can hold them."""
    raw = text.encode()
    changed = mutate(raw, max(2 * len(raw), _LEAST_BYTES)).decode("utf-8", "replace")
    return "".join(char for char in changed if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"))


def _attribute(element: _Element, _elements: list[_Element], random: Random, mutate: Mutate) -> None:
    names = [*element.attrib]
    if names and random.random() < 0.3:
        del element.attrib[random.choice(names)]
        return
    name = random.choice([*names, *names, random.choice(_ATTRIBUTES)])
    odd = random.choice(("2.0b", "true", "#", "ei:PayloadFloatType", "1", ""))
    element.set(name, odd if random.random() < 0.5 else _fuzzed(element.get(name) or "", mutate))


def _drop(element: _Element, _elements: list[_Element], _random: Random, _mutate: Mutate) -> None:
    parent = element.getparent()
    if parent is not None:
        parent.remove(element)


def _double(element: _Element, _elements: list[_Element], random: Random, _mutate: Mutate) -> None:
    if element.getparent() is not None:
        for _ in range(random.choice((1, 1, 2, 8))):
            copy = deepcopy(element)
            copy.tail = None
            element.addnext(copy)


def _move(element: _Element, elements: list[_Element], random: Random, _mutate: Mutate) -> None:
    """Put an element before another one, mostly before a sibling."""
    parent = element.getparent()
    if parent is None:
        return
    place = random.choice(list(parent) if random.random() < 0.7 else elements)
    if place.getparent() is not None and element not in (place, *place.iterancestors()):
        place.addprevious(element)


def _rename(element: _Element, elements: list[_Element], random: Random, _mutate: Mutate) -> None:
    element.tag = random.choice(elements).tag


def _empty(element: _Element, _elements: list[_Element], _random: Random, _mutate: Mutate) -> None:
    element[:] = []
