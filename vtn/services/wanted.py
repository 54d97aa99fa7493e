"""What this VTN asks of a VEN's reports: as much of what it wants as is offered, and what cannot be had."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from core.errors import InvalidError
from core.ids import new_id
from core.spans import ZERO, Duration, floor_to
from openadr.model import assessment, potential
from openadr.model.report import ReportDescription, ReportOffer, ReportRequest, SamplingRate
from vtn.services.settings import WantedReport

_HALF_HOUR_S = 1800
_MOST_RATES = 10
"""Requests for one report: no VEN's list of odd sampling rates becomes a flood of messages."""


def requests_for(wanted: WantedReport, offer: ReportOffer, now: datetime) -> list[ReportRequest]:
    """Return the requests for as much of a wanted report as is offered (RP-27, RP-30).

    Data points that cannot be sampled alike are asked for apart, the commonest granularities first: a request has a
    single one. Raises InvalidError if the offer holds nothing of what is wanted, or periods that no calendar holds.
    """
    points = _points(wanted, offer)
    if wanted.history is not None:
        reach = min(filter(None, (wanted.history, offer.duration)), key=_end(now), default=ZERO)
        r_ids = tuple(point.r_id for point in points)
        return [ReportRequest(new_id("rrq"), offer.specifier_id, r_ids, start=(-reach).after(now), duration=reach)]
    alike: dict[Duration, list[str]] = {}
    for point in points:
        alike.setdefault(_granularity(wanted, point, now), []).append(point.r_id)
    commonest = sorted(alike.items(), key=lambda group: -len(group[1]))[:_MOST_RATES]
    start = floor_to(now, _HALF_HOUR_S)  # where the history of half-hourly meters ends: no hole between the two
    return [
        ReportRequest(
            new_id("rrq"),
            offer.specifier_id,
            tuple(r_ids),
            granularity,
            max(wanted.report_back, granularity, key=_end(now)) if wanted.report_back else ZERO,
            start,
            ZERO,
        )
        for granularity, r_ids in commonest
    ]


def _points(wanted: WantedReport, offer: ReportOffer) -> Sequence[ReportDescription]:
    if wanted.name != potential.REPORT_NAME:
        return offer.descriptions
    types = (*potential.DIRECTIONS, potential.NOMINAL_TYPE)
    points = [point for point in offer.descriptions if point.report_type in types]
    if not points:
        raise InvalidError(f"'{offer.specifier_id}' offers no potential in any direction.")
    return points


def _granularity(wanted: WantedReport, point: ReportDescription, now: datetime) -> Duration:
    """Return the granularity nearest to the wanted one that a data point can be sampled at; zero means on change."""
    rate = point.sampling
    if not wanted.granularity or rate is None:
        return wanted.granularity
    at_most = _coarsest(rate, now)
    granularity = wanted.granularity if at_most is None else min(wanted.granularity, at_most, key=_end(now))
    return max(granularity, rate.min_period, key=_end(now))


def _coarsest(rate: SamplingRate, now: datetime) -> Duration | None:
    """Return the longest sampling period; None for an oadrMaxPeriod that says nothing: zero, or below the shortest."""
    return rate.max_period if rate.max_period and _end(now)(rate.max_period) >= _end(now)(rate.min_period) else None


def _end(now: datetime) -> Callable[[Duration], datetime]:
    """Return the order of durations: months last as long as they do from now on."""
    return lambda length: length.after(now)


def shortfalls(wanted_reports: Iterable[WantedReport], offers: Sequence[ReportOffer], now: datetime) -> list[str]:
    """Say in what a VEN's offers fall short of the reports that this VTN wants; nothing where it has offered none."""
    if not offers:
        return []
    return [text for wanted in wanted_reports for text in _shortfall(wanted, offers, now)]


def _shortfall(wanted: WantedReport, offers: Sequence[ReportOffer], now: datetime) -> Iterator[str]:
    named = [offer for offer in offers if offer.name == wanted.name and offer.descriptions]
    if not named and wanted.name != assessment.REPORT_NAME:  # what a VEN thinks of itself it may keep to itself
        yield f"{wanted.name} is wanted and not offered."
    for offer in named:
        try:
            requests = requests_for(wanted, offer, now)
        except InvalidError as error:
            yield f"{wanted.name} cannot be asked for: {error}"
            continue
        for request in requests:
            if request.granularity != wanted.granularity and wanted.history is None:
                points = ", ".join(request.r_ids[:3]) + (" ..." if len(request.r_ids) > 3 else "")  # noqa: PLR2004
                yield f"{wanted.name}: {points} comes every {request.granularity}; {wanted.granularity} is wanted."
        left_out = len(_points(wanted, offer)) - sum(len(request.r_ids) for request in requests)
        if left_out:
            yield f"{wanted.name}: {left_out} data points are not asked for; they have too many sampling rates."
        for request in requests:
            if wanted.history is not None and request.duration != wanted.history:
                yield f"{wanted.name}: '{offer.specifier_id}' reaches back {request.duration}, not {wanted.history}."


def check_within(request: ReportRequest, offer: ReportOffer, now: datetime) -> None:
    """Raise InvalidError for what a VEN may agree to and never send.

    That is a granularity above a data point's oadrMaxPeriod, or a history with a rate of its own: it comes at once, and
    as it was kept (RP-27).
    """
    if offer.name.startswith("HISTORY_"):
        if request.granularity or request.report_back:
            raise InvalidError("A history comes at once and as it was kept: granularity and report_back are PT0S.")
        return
    for r_id in request.r_ids:
        point = offer.description(r_id)
        if point is None or point.sampling is None or not request.report_back:
            continue
        at_most = _coarsest(point.sampling, now)
        if at_most is not None and _end(now)(request.granularity) > _end(now)(at_most):
            raise InvalidError(f"'{r_id}' is sampled every {at_most} at the longest; {request.granularity} is asked.")
