"""Data points: what a VEN said that the values of a series are."""

import json
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import blake2b

from core.points import Flow, Phase
from openadr.model.target import EVERYTHING, Target

USAGE = "usage"
DIRECT_READ = "Direct Read"
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class DataPoint:
    """What a report description says of its values. Data points are equal if their descriptions are.

    `flow` and `phase` are what is understood of the description: OpenADR has no field for them. `ambiguous`: another
    data point of the same report differs in nothing but its rID.
    """

    digest: str
    r_id: str = field(compare=False)
    report_type: str = field(compare=False, default=USAGE)
    reading_type: str = field(compare=False, default=DIRECT_READ)
    sources: Target = field(compare=False, default=EVERYTHING)
    subject: Target = field(compare=False, default=EVERYTHING)
    flow: Flow = field(compare=False, default=Flow.IMPORT)
    phase: Phase = field(compare=False, default=Phase.TOTAL)
    ambiguous: bool = field(compare=False, default=False)


def digest(
    r_id: str, report_type: str, reading_type: str, sources: Target, subject: Target, unit: list[object] | None = None
) -> str:
    """Return what is the same for equal descriptions, in any report and order of resources.

    `unit` is that of a quantity which is none of ours. Rows keep the digest: another one would begin new series.
    """
    said = [r_id, report_type, reading_type, _criteria(sources), _criteria(subject), unit]
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()


def _criteria(target: Target) -> list[object]:
    return [[name, sorted(values)] for name, values in asdict(target).items() if values]


@lru_cache(maxsize=1024)
def usage_of(resource_id: str) -> DataPoint:
    """Return the usage of a resource, read directly, with the rID that is the resource's name."""
    sources = Target(resource_ids=(resource_id,))
    return DataPoint(digest(resource_id, USAGE, DIRECT_READ, sources, EVERYTHING), resource_id, sources=sources)
