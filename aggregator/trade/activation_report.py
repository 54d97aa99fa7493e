"""An activation report as values: what was ordered and what was delivered, interval by interval (FN-DR-10)."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReportInterval:
    """One interval of the programme: mean powers in whole W, positive = as ordered; None: not known.

    `baseline_w` and `actual_w` are consumption of the VENs that count. `deficiency_w` is what was ordered and not
    delivered, None where that is not known. `coverage`: part of the called VENs (those that opted out left aside) whose
    delivery is known, 0 to 1.
    """

    start: datetime
    duration_s: int
    ordered_w: int
    baseline_w: int | None
    actual_w: int | None
    delivered_w: int | None
    deficiency_w: int | None
    coverage: float


@dataclass(frozen=True, slots=True)
class VenRow:
    """One VEN under a pseudonym that means nothing outside this activation."""

    pseudonym: str
    opt: str | None
    ordered_wh: int
    delivered_wh: int | None


@dataclass(frozen=True, slots=True)
class ActivationReport:
    """A report at one version; `starts_at` to `ends_at` is what ran.

    `uncertainty_wh`: half the width of the 90 % interval of the delivered energy, from what the same baseline errs on
    days without an event; None: too large a pool, or too few days. `unadjusted`: homes that count whose baseline lacks
    the same-day adjustment that its method has. `vens`: None where the contract does not allow rows
    of VENs, or too few were called.
    """

    activation_id: str
    contract_id: str
    version: int
    final: bool
    created_at: datetime
    direction: str
    starts_at: datetime
    ends_at: datetime
    method: str
    citation: str
    called: int
    opted_out: int
    no_answer: int
    ordered_wh: int
    delivered_wh: int | None
    deficiency_wh: int | None
    uncertainty_wh: int | None
    coverage: float
    intervals: tuple[ReportInterval, ...]
    vens: tuple[VenRow, ...] | None
    why_unknown: str | None = None
    measurable_from: str | None = None
    unadjusted: int = 0
