"""The catalogue of OpenADR 2.0b's rules (`rules.yaml`): what the kit checks, and what the code cites as `EV-12`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from core.errors import InvalidError


class Chapter(StrEnum):
    """The chapters of the catalogue, in their order; ids begin with them."""

    GN = "GN"
    EV = "EV"
    OP = "OP"
    RP = "RP"
    RG = "RG"
    PL = "PL"
    TR = "TR"
    SE = "SE"
    XM = "XM"
    PA = "PA"


TITLES: Final[Mapping[Chapter, str]] = MappingProxyType(
    {
        Chapter.GN: "All messages",
        Chapter.EV: "Events: EiEvent",
        Chapter.OP: "Opts: EiOpt",
        Chapter.RP: "Reports: EiReport",
        Chapter.RG: "Registration: EiRegisterParty",
        Chapter.PL: "Polling: OadrPoll",
        Chapter.TR: "Transport over HTTP",
        Chapter.SE: "Security",
        Chapter.XM: "Transport over XMPP",
        Chapter.PA: "VENs of OpenADR 2.0a",
    }
)
"""What each chapter is about."""


class Side(StrEnum):
    """Who has to obey a rule."""

    VTN = "vtn"
    VEN = "ven"
    BOTH = "both"


class Level(StrEnum):
    """How strictly a rule binds."""

    MUST = "M"
    SHOULD = "S"
    MAY = "O"
    OPEN = "-"
    """The specification leaves it open: there is nothing to check."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `text` says what has to hold, `check` how that is seen by whoever has only the messages.

    `source` names the rules (R15) and sections (§8.6) of the OpenADR 2.0b Profile Specification that it stems from.
    `decision` says what the kit and evenload do where the specification is in doubt; else it is None.
    """

    id: str
    chapter: Chapter
    side: Side
    level: Level
    text: str
    check: str
    source: tuple[str, ...]
    decision: str | None = None


def load() -> tuple[Rule, ...]:
    """Return all rules: by chapter, and by number within it."""
    return read(files("conformance").joinpath("rules.yaml").read_text("utf-8"))


def read(text: str) -> tuple[Rule, ...]:
    """Return the rules of a YAML list. Raises InvalidError, naming the entry that cannot be used."""
    try:
        entries = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise InvalidError(f"The catalogue is no YAML: {error}") from error
    if not isinstance(entries, list):
        raise InvalidError("The catalogue is a list of rules.")
    rules = tuple(_rule(entry, place) for place, entry in enumerate(entries, 1))
    order = list(Chapter)
    for before, rule in pairwise(rules):
        if before.id == rule.id:
            raise InvalidError(f"{rule.id} stands in the catalogue twice.")
        if (order.index(before.chapter), before.id) > (order.index(rule.chapter), rule.id):
            raise InvalidError(f"{rule.id} stands behind {before.id}: rules stand by chapter and number.")
    return rules


_NAMES: Final = frozenset({"id", "chapter", "side", "level", "text", "check", "source"})
_ID: Final = re.compile(r"([A-Z]{2})-\d{2}")


def _rule(entry: Any, place: int) -> Rule:
    if not isinstance(entry, dict):
        raise InvalidError(f"Entry {place} is no rule.")
    rule_id = str(entry.get("id", f"Entry {place}"))
    if wrong := (entry.keys() - {"decision"}) ^ _NAMES:
        raise InvalidError(f"{rule_id}: missing or unknown: {', '.join(sorted(map(str, wrong)))}.")
    try:
        chapter, side, level = Chapter(entry["chapter"]), Side(entry["side"]), Level(entry["level"])
    except ValueError as error:
        raise InvalidError(f"{rule_id}: {error}.") from None
    shape = _ID.fullmatch(rule_id)
    if shape is None or shape[1] != chapter:
        raise InvalidError(f"{rule_id}: an id of this chapter is {chapter}- and two digits.")
    source = entry["source"]
    if not isinstance(source, list) or not source:
        raise InvalidError(f"{rule_id}: source is a list, and not an empty one.")
    return Rule(
        rule_id,
        chapter,
        side,
        level,
        _text(entry["text"], rule_id),
        _text(entry["check"], rule_id),
        tuple(_text(part, rule_id) for part in source),
        _text(entry["decision"], rule_id) if "decision" in entry else None,
    )


def _text(value: Any, rule_id: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidError(f"{rule_id}: a text is missing, or is none: {value!r}.")
    return value.strip()
