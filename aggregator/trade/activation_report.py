"""An activation report as values: what was ordered and what was delivered, interval by interval (FN-DR-10)."""

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ReportInterval:
    """One interval of the programme: mean powers in whole W, positive = as ordered; None: not known.

    `number`: which of the local day's settlement periods it is, from 1; `local_start`: the start by the wall clock of
    the programme's time zone, ISO 8601 (None in reports that were made before they were said).
    `baseline_w` and `actual_w` are consumption of the VENs that count. `deficiency_w` is what was ordered and not
    delivered, None where that is not known. `coverage`: of those VENs that were to deliver here and took part, the part
    whose delivery is known, 0 to 1.
    """

    start: datetime
    duration_s: int
    ordered_w: int
    baseline_w: int | None
    actual_w: int | None
    delivered_w: int | None
    deficiency_w: int | None
    coverage: float
    number: int | None = None
    local_start: str | None = None


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

    `final`: late readings change it no more; before, `final_at` says from when. `interval_s` and `time_zone` are the
    programme's. `spread`: of how many homes in the sum the readings are longer than that, and spread over intervals.

    `uncertainty_wh`: half the width of the 90 % interval of the delivered energy, from what the same baseline errs on
    days without an event, and `bias_wh` what it credits in the mean on these, which is not taken off; None: too few
    days. `unadjusted`: homes that count whose baseline lacks the same-day adjustment, or the temperatures, that its
    method has. `vens`: None where the contract does not allow rows of VENs, or too few were called.
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
    final_at: datetime | None = None
    interval_s: int | None = None
    time_zone: str | None = None
    bias_wh: int | None = None
    unadjusted: int = 0
    spread: int = 0

    def says_the_same(self, other: "ActivationReport") -> bool:
        """Tell whether two reports differ in nothing but version, time, and whether they are final."""
        return self == replace(
            other,
            version=self.version,
            final=self.final,
            created_at=self.created_at,
            final_at=self.final_at,
        )
