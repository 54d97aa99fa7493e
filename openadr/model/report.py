"""Reports: what a party offers (metadata), what the other requests, and the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from core.errors import InvalidError, Reason
from core.spans import ZERO, Duration
from openadr.model.target import EVERYTHING, Target
from openadr.model.units import ItemBase

METADATA = "METADATA"
"""The reportSpecifierID that asks for the metadata itself (RP-14)."""

NO_NEW_VALUE = "No New Value - Previous Value Used"
GOOD = "Quality Good - Non Specific"
ESTIMATED = "Quality Uncertain - Non Specific"
STALE = "Quality Uncertain - Last Usable Value"
DOUBTFUL = "Quality Uncertain - Sensor Not Accurate"
BAD = "Quality Bad - Non Specific"


@dataclass(frozen=True, slots=True)
class SamplingRate:
    """How often a data point can be sampled (RP-07)."""

    min_period: Duration
    max_period: Duration
    on_change: bool = False


@dataclass(frozen=True, slots=True)
class ReportDescription:
    """One data point of an offered report. `source` and `subject` are targets (RP-09, RP-10)."""

    r_id: str
    report_type: str
    reading_type: str
    source: Target = EVERYTHING
    subject: Target = EVERYTHING
    item_base: ItemBase | None = None
    market_context: str | None = None
    sampling: SamplingRate | None = None


@dataclass(frozen=True, slots=True)
class ReportOffer:
    """One metadata report: `name` is without the METADATA_ prefix; `duration` is how much it can hold (RP-04)."""

    specifier_id: str
    name: str
    duration: Duration
    descriptions: tuple[ReportDescription, ...]
    created_at: datetime

    def description(self, r_id: str) -> ReportDescription | None:
        """Return the description of a data point, or None."""
        return next((one for one in self.descriptions if one.r_id == r_id), None)


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One oadrReportRequest.

    `report_back` zero means one report at once (RP-24); `start` and `duration` are the reportInterval (RP-26, RP-28),
    a zero `duration` in it means for ever (telemetry) or everything from `start` (history).
    """

    request_id: str
    specifier_id: str
    r_ids: tuple[str, ...]
    granularity: Duration = ZERO
    report_back: Duration = ZERO
    start: datetime | None = None
    duration: Duration | None = None
    reading_types: tuple[str, ...] = ()

    @property
    def is_metadata(self) -> bool:
        """Whether this asks for the metadata rather than for data (RP-14)."""
        return self.specifier_id == METADATA


@dataclass(frozen=True, slots=True)
class LoadControlState:
    """The state of one load-control item in a TELEMETRY_STATUS report (RP-50)."""

    current: float
    min: float | None = None
    max: float | None = None
    normal: float | None = None


@dataclass(frozen=True, slots=True)
class ResourceStatus:
    """An oadrPayloadResourceStatus."""

    online: bool
    manual_override: bool
    capacity: LoadControlState | None = None
    level_offset: LoadControlState | None = None
    percent_offset: LoadControlState | None = None
    set_point: LoadControlState | None = None


@dataclass(frozen=True, slots=True)
class ReportPayload:
    """The value of one data point in one interval. `value` is a number or a resource status."""

    r_id: str
    value: float | ResourceStatus
    quality: str | None = None
    confidence: int | None = None
    accuracy: float | None = None


class ReportInterval(NamedTuple):
    """One interval of report data; without `start` it follows the one before (RP-41, RP-42).

    A report may hold thousands: a named tuple is made several times faster than a frozen dataclass.
    """

    payloads: tuple[ReportPayload, ...]
    start: datetime | None = None
    duration: Duration | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One data report. `start` is that of its first interval (RP-41)."""

    request_id: str
    specifier_id: str
    name: str
    created_at: datetime
    intervals: tuple[ReportInterval, ...]
    start: datetime | None = None
    duration: Duration | None = None
    report_id: str | None = None


def with_starts(report: Report) -> list[tuple[datetime, Duration | None, ReportInterval]]:
    """Return (start, duration, interval) for every interval of a data report, oldest first.

    Starts that are left out follow from the report's start and the durations before (RP-41, RP-42). Raises
    InvalidError where they do not, or leave the calendar.
    """
    rows = []
    start = report.start
    duration: Duration | None = ZERO
    for index, interval in enumerate(report.intervals):
        if interval.start is not None:
            start = interval.start
        elif start is not None and duration is not None:
            start = duration.after(start)
        else:
            text = f"Interval {index} of report {report.request_id} has no start."
            raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
        duration = interval.duration or (report.duration if len(report.intervals) == 1 else None)
        rows.append((start, duration, interval))
    return rows


def check_request(request: ReportRequest, offers: Sequence[ReportOffer]) -> ReportOffer:
    """Return the offer that a request asks of. Raises InvalidError (RP-20, RP-26, RP-27, RP-30), by its reason:

    not offered: unknown specifier or rID; invalid data: a negative duration, one that leaves the calendar, a
    granularity outside the sampling rate or above the report-back duration, a report-back duration below the sampling
    rate, or more history than the offer holds; breaks a rule: no reportInterval where one is needed. Durations count
    from the request's start (GN-05).
    """
    offer = next((one for one in offers if one.specifier_id == request.specifier_id), None)
    if offer is None:
        text = f"No report with reportSpecifierID '{request.specifier_id}' is offered."
        raise InvalidError(text, reason=Reason.NOT_OFFERED)
    check_lengths(request)
    for length in (request.granularity, request.report_back):
        length.after(request.start or _REFERENCE)
    history = offer.name.startswith("HISTORY_")
    descriptions = {one.r_id: one for one in offer.descriptions}
    for r_id in request.r_ids:
        if r_id not in descriptions:
            text = f"'{r_id}' is no rID of report '{request.specifier_id}'."
            raise InvalidError(text, reason=Reason.NOT_OFFERED)
    if history or request.report_back:
        rates = [rate for r_id in request.r_ids if (rate := descriptions[r_id].sampling) is not None]
        for shortest in dict.fromkeys(rate.min_period for rate in rates):
            _check_rate(request, shortest)
    if not history and not request.report_back:
        return offer
    if request.start is None or request.duration is None:
        text = "This request needs a reportInterval with dtstart and duration."
        raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
    if history and offer.duration and _longer(request.duration, offer.duration, request.start):
        raise InvalidError(f"{request.duration} is asked, {offer.duration} is offered.")
    return offer


def check_lengths(request: ReportRequest) -> None:
    """Raise InvalidError for a negative duration: no request can hold one."""
    if any(length.is_negative for length in (request.granularity, request.report_back, request.duration or ZERO)):
        raise InvalidError("A report request cannot hold a negative duration.")


def _check_rate(request: ReportRequest, shortest: Duration) -> None:
    """Raise InvalidError for steps or reports closer than can be sampled (RP-27, RP-47)."""
    granularity, report_back = request.granularity, request.report_back
    start = request.start or _REFERENCE
    too_long = bool(report_back) and _longer(granularity, report_back, start)
    if granularity and (too_long or _longer(shortest, granularity, start)):
        raise InvalidError(f"Granularity {granularity} is outside {shortest} .. {report_back}.")
    if report_back and _longer(shortest, report_back, start):
        raise InvalidError(f"Reports each {report_back} are asked, each {shortest} is offered.")


_REFERENCE: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""Where months count from in a request without a start."""


def _longer(left: Duration, other: Duration, start: datetime) -> bool:
    return left.held_after(start) > other.held_after(start)


def check_offers(offers: Sequence[ReportOffer]) -> None:
    """Raise InvalidError unless specifier ids are unique in the message and rIDs in each report (RP-05, RP-07)."""
    specifiers = [offer.specifier_id for offer in offers]
    if len(set(specifiers)) < len(specifiers):
        raise InvalidError("reportSpecifierID is not unique in the message.", reason=Reason.BREAKS_A_RULE)
    for offer in offers:
        r_ids = [description.r_id for description in offer.descriptions]
        if len(set(r_ids)) < len(r_ids):
            text = f"rID is not unique in report '{offer.specifier_id}'."
            raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
        for description in offer.descriptions:
            if offer.name.startswith("TELEMETRY_") and description.sampling is None:
                text = f"rID '{description.r_id}' of a telemetry report needs a sampling rate."
                raise InvalidError(text, reason=Reason.BREAKS_A_RULE)
