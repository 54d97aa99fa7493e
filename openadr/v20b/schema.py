"""The official 2.0b XSD set. It is read from the installed openleadr package; nothing of it is copied here."""

import re
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from threading import Lock

from lxml import etree
from lxml.etree import _Element

from core.errors import UnavailableError

XS = "{http://www.w3.org/2001/XMLSchema}"
_NAMESPACE = re.compile(r"\{[^{}']*\}")
"""In braces, as sets of values are, whose members are in quotes."""
_FAULT_LENGTH = 300
_FILES = ("oadr", "oadr_ei", "oadr_pyld", "oadr_strm", "oadr_xcal", "oadr_emix", "oadr_power", "oadr_gml")
_CROWD = 64
_MOST_LOCALS = 1000
_one_at_a_time = Lock()


@cache
def schema_folder() -> Path:
    """Return the folder with the XSD files. Raises UnavailableError, which says what to install."""
    spec = find_spec("openleadr")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "schema"
        if (folder / "oadr_20b.xsd").is_file():
            return folder
    raise UnavailableError(
        "The OpenADR 2.0b schema is missing: it comes with the Python package openleadr. "
        "Install it with: pip install openleadr==0.5.36"
    )


@cache
def schema() -> etree.XMLSchema:
    """Return the compiled 2.0b schema. Raises UnavailableError if it is not installed or not readable."""
    path = schema_folder() / "oadr_20b.xsd"
    try:
        return etree.XMLSchema(file=str(path))
    except etree.LxmlError as error:
        raise UnavailableError(
            f"The OpenADR 2.0b schema cannot be read: {error}. Reinstall it with: "
            "pip install --force-reinstall openleadr==0.5.36"
        ) from error


def fault(root: _Element, *, large: bool = False) -> str | None:
    """Return what the schema finds wrong in a parsed document, shortly and without namespaces, or None.

    The validator cannot be told to stop at the first error, and logs each in a time that grows with the number of the
    element's siblings: a few hundred kilobytes of empty intervals take minutes. A `large` document is therefore judged
    piece by piece where elements are crowded, up to the first fault, and only then as a whole.
    """
    return (_fault_in_a_crowd(root) if large else None) or _fault(root)


def _fault_in_a_crowd(root: _Element) -> str | None:
    known = _judged_alone()
    for parent in reversed(list(root.iter("*"))):  # innermost first, so that no piece holds a faulty crowd
        if len(parent) <= _CROWD:
            continue
        locals_ = [child for child in parent if child.tag not in known]
        if len(locals_) > _MOST_LOCALS:
            return f"line {parent.sourceline}: more than {_MOST_LOCALS} elements of a kind that is seldom repeated"
        pieces = chain((child for child in parent if child.tag in known), chain.from_iterable(locals_))
        wrong = next(filter(None, (_fault(piece) for piece in pieces if piece.tag in known)), None)
        if wrong is not None:
            return wrong
    return None


def _fault(root: _Element) -> str | None:
    judge = schema()
    with _one_at_a_time:  # the validator and its error log serve one thread at a time
        try:
            if judge.validate(root):
                return None
        except etree.XMLSchemaValidateError as error:
            return f"the schema cannot judge it: {error}"[:_FAULT_LENGTH]
        first = next(iter(judge.error_log), None)
    if first is None:
        return "it does not match the schema"
    return f"line {first.line}: {_NAMESPACE.sub('', first.message[: 4 * _FAULT_LENGTH])}"[:_FAULT_LENGTH]


@cache
def schema_files() -> tuple[_Element, ...]:
    """Return the parsed XSD files that make up OpenADR's own messages, for reading declarations from."""
    folder = schema_folder()
    return tuple(etree.parse(folder / f"{name}_20b.xsd").getroot() for name in _FILES)


@cache
def declared_elements() -> frozenset[str]:
    """Return the Clark names of all elements that are declared globally, which can be judged on their own."""
    return frozenset(
        f"{{{file.get('targetNamespace')}}}{element.get('name')}"
        for file in schema_files()
        for element in file.iterchildren(f"{XS}element")
    )


@cache
def _judged_alone() -> frozenset[str]:
    """Return the Clark names of elements that mean the same wherever they stand: `xcal:duration` is two things."""
    local = {
        f"{{{file.get('targetNamespace')}}}{element.get('name')}"
        for file in schema_files()
        for element in file.iter(f"{XS}element")
        if element.getparent() is not file
    }
    return declared_elements() - local
