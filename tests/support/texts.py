"""A language in which every text comes back in ⟦ ⟧, and what a page says outside of them.

What is no text of ours says so itself: names in `<bdi>`, codes in `<code>`, `<pre>` or class `mono`, times in `<time>`,
`translate="no"` for names of things, `lang="en"` for what services say. Beside those a page may show units, and data
that cannot be marked, as in options and headings: strings that stand in the database just so.
"""

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from jinja2 import Environment, nodes
from lxml import html

from support.vtn_world import World

TAG = "qps-ploc"
"""BCP 47 has this tag for pseudo-languages."""
ROOT = Path(__file__).resolve().parent.parent.parent
_SOURCES = ("web", "vtn/console", "aggregator", "evenload")
_METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
_OPTIONS = {"**/templates/**.html": {"silent": "false"}}
_ATTRIBUTES = (
    "title",
    "alt",
    "placeholder",
    "aria-label",
    "data-label",
    "label",
    "data-live",
    "data-lost",
    "data-stopped",
    "data-finished",
    "data-failed",
)
_DATA = frozenset({"bdi", "code", "pre", "time", "script", "textarea"})
_WORD = re.compile(r"[^\W\d_]{2,}")
_UNITS = frozenset(["kW", "MW", "Wh", "kWh", "MWh", "min", "ms", "kB", "MB", "UTC", "EUR"])


def pseudo_catalogue(directory: Path) -> Path:
    """Write the catalogue of all texts that can be found in templates and code, and return its directory."""
    catalogue = Catalog()
    for source in _SOURCES:
        for _, _, message, _, _ in extract_from_dir(ROOT / source, _METHODS, _OPTIONS):
            marked = tuple(f"⟦{form}⟧" for form in message) if isinstance(message, tuple) else f"⟦{message}⟧"
            catalogue.add(message, marked)
    path = directory / TAG / "LC_MESSAGES" / "messages.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, catalogue)
    return directory


def unmarked_in(template: Path) -> list[str]:
    """Return the text of a template that is in no gettext, also where no test comes by."""
    outputs = (
        Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(template.read_text()).find_all(nodes.Output)
    )
    parts = [part for output in outputs for part in output.nodes]
    source = "".join(part.data if isinstance(part, nodes.TemplateData) else "⟦⟧" for part in parts)
    return unmarked(re.sub(r' aria-\w+="[^"<>]*"', "", source) or "<p>", (), ())


async def data_of(world: World) -> set[str]:
    """Return every string that the database holds, also within JSON."""
    found: set[str] = set()
    for rows in (await world.dump()).values():
        for row in rows:
            for cell in row:
                found.update(_strings(cell))
    return found


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield " ".join(value.split())
        if value[:1] in "[{":
            try:
                yield from _strings(json.loads(value))
            except ValueError:
                return
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _strings(one)


def unmarked(text: str, data: Collection[str], words: Collection[str]) -> list[str]:
    """Return what a page in the pseudo-language says outside the marks and is no data; `words` never are."""
    root = html.document_fromstring(text)
    found: list[str] = []
    depth = 0

    def look(piece: str | None, where: str, *, is_data: bool) -> None:
        nonlocal depth
        outside = []
        for part in re.split("([⟦⟧])", piece or ""):
            if part in ("⟦", "⟧"):
                depth += 1 if part == "⟦" else -1
            elif depth == 0 and not is_data and not _is_plain(part, data, words):
                outside.append(" ".join(part.split()))
        found.extend(f"{where}: {one}" for one in outside)

    def walk(element: Any, is_data: bool) -> None:
        if not isinstance(element.tag, str):
            look(element.tail, "comment", is_data=is_data)
            return
        own = element.tag in _DATA or element.get("translate") == "no" or "mono" in element.get("class", "").split()
        own = own or element.get("lang") not in (None, TAG)
        for name in _ATTRIBUTES:
            if element.get(name) and not own:
                look(element.get(name), f"{element.tag} {name}", is_data=is_data)
        look(element.text, element.tag, is_data=is_data or own)
        for child in element:
            walk(child, is_data or own)
        look(element.tail, element.getparent().tag if element.getparent() is not None else "", is_data=is_data)

    walk(root, is_data=False)
    assert depth == 0, "a text is cut"
    return found


def _is_plain(text: str, data: Collection[str], words: Collection[str]) -> bool:
    """Tell whether a piece of a page is punctuation, numbers with units, or data, or several of them."""
    whole = " ".join(text.split())
    pieces = [piece.strip() for piece in re.split("[·,;:()]", whole)]
    return whole in data or all(
        not set(_WORD.findall(piece)) - _UNITS or (piece in data and piece not in words) for piece in pieces
    )
