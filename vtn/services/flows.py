"""Which way the energy of a data point goes, and of which phase it is: OpenADR has no field for either.

What a description says in its own words is understood: "x-export", "meter/exp", an OBIS code, the reading type Net, a
generator as its subject. Anything else is consumption of all phases.
"""

import re
from collections.abc import Iterator
from typing import Final

from core.points import Flow, Phase
from openadr.model.report import ReportDescription

_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_GENERATED: Final = frozenset({"produced", "production", "generated", "generation", "gen", "pv"})
_EXPORT: Final = _GENERATED | {"exp", "export", "exported", "exports", "feedin", "injected", "injection"}
_NET: Final = frozenset({"net", "netto", "saldo"})
_OBIS: Final = re.compile(r"(?<![\d.])(1|2|16|21|22|41|42|61|62)\.[78]\.\d(?![\d.])")
_OBIS_EXPORT: Final = frozenset({"2", "22", "42", "62"})
_OBIS_PHASES: Final = {"21": "1", "22": "1", "41": "2", "42": "2", "61": "3", "62": "3"}
_PHASE: Final = re.compile(r"(?<![a-z0-9])(?:l([123])|ph(?:ase)?[ _.-]?([123abc]))(?![a-z0-9])", re.IGNORECASE)
_PHASES: Final = {
    "1": Phase.L1,
    "a": Phase.L1,
    "2": Phase.L2,
    "b": Phase.L2,
    "3": Phase.L3,
    "c": Phase.L3,
}
_GENERATORS: Final = frozenset({"Generation_Systems"})


def flow_of(description: ReportDescription) -> Flow:
    """Return which way energy counts as positive in a data point, seen from the grid connection."""
    words = {*_words(description.report_type), *_words(description.r_id)}
    obis = _OBIS.search(description.r_id)
    if words & _EXPORT or (obis and obis[1] in _OBIS_EXPORT) or _GENERATORS & set(description.subject.device_classes):
        return Flow.EXPORT
    if description.reading_type == "Net" or words & _NET or (obis and obis[1] == "16"):
        return Flow.NET
    return Flow.IMPORT


def is_generation(report_type: str, r_id: str) -> bool:
    """Tell whether a data point speaks of what is generated: some of that is used at once, and is no export."""
    return bool({*_words(report_type), *_words(r_id)} & _GENERATED)


def phase_of(r_id: str) -> Phase:
    """Return the phase that an rID names, such as `meter/l2`, `phase-b` or `1-0:41.7.0`."""
    obis = _OBIS.search(r_id)
    named = _PHASE.search(r_id)
    letter = _OBIS_PHASES.get(obis[1]) if obis else (named[1] or named[2]).lower() if named else None
    return _PHASES[letter] if letter else Phase.TOTAL


def _words(text: str) -> Iterator[str]:
    return (word.lower() for word in _WORD.findall(text))
