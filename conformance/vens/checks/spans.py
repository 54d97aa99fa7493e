"""RP: when a VEN reports, and of which time."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from lxml import etree

from conformance import judge
from conformance.check import Check, check
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.checks.reports import length_s, of_request
from conformance.vens.checks.said import messages, played, told
from conformance.verdict import Failed, NotObservable

_SEVERAL: Final = 3
"""So many intervals are asked for in a report."""
_TOO_MUCH: Final = 454
_STATES: Final = ".//oadr:oadrPayloadResourceStatus//oadr:oadrLoadControlState//*"


def _asked(transcript: Transcript, request_id: str) -> list[tuple[Exchange, Document]]:
    """Return the reports of a request. Raises NotObservable if it was not fetched, or refused, Failed without any."""
    if reason := transcript.facts.get("too slow"):
        raise NotObservable(reason)
    exchanges = played(transcript, "spans")
    requests = told(exchanges, "oadrCreateReport")
    if not any(request_id in document.texts(".//ei:reportRequestID") for _, document in requests):
        raise NotObservable(f"the VEN was not asked for '{request_id}'")
    reports = of_request(exchanges, request_id)
    if not reports:
        if any(document.code != judge.OK for _, document in messages(exchanges, "oadrCreatedReport")):
            raise NotObservable(f"the VEN did not take the request '{request_id}'")
        raise Failed(f"no report of '{request_id}' came", *exchanges[:20])
    return reports


def _starts(report: Document) -> Iterator[datetime]:
    """Yield when its intervals begin: by themselves, or one after the other from the report's dtstart on."""
    at = judge.date_time((report.text("xcal:dtstart/xcal:date-time") or "").strip())
    for interval in map(Document, report.all("strm:intervals/ei:interval")):
        own = interval.text("xcal:dtstart/xcal:date-time")
        start = at if own is None else judge.date_time(own.strip())
        yield start
        at = judge.after(start, length_s(interval) or 0)


@check("RP-03", "spans")
def new_metadata_makes_requests_void(transcript: Transcript) -> None:
    """After its metadata was sent again no report comes of what was asked for before."""
    _asked(transcript, "several")
    played(transcript, "voiding")
    for exchange, document in messages(transcript.steps("void"), "oadrUpdateReport"):
        for name in ("several", "status"):
            if name in document.texts("oadr:oadrReport/ei:reportRequestID"):
                raise Failed(f"data of '{name}' came after new metadata", exchange)


@check("RP-28", "spans")
def a_report_has_its_span(transcript: Transcript) -> None:
    """Nothing is reported of before a request's dtstart, nor of after its duration, and then no report comes."""
    reports, span = _asked(transcript, "later"), transcript.facts["span"]
    start, step = judge.date_time(span["start"]), timedelta(seconds=span["step_s"])
    end = start + timedelta(seconds=span["lasts_s"])
    for exchange, report in reports:
        for at in _starts(report):
            if at <= start - step:
                raise Failed(f"data of {at} for a request that begins at {start}", exchange)
            if at >= end:
                raise Failed(f"data of {at} for a request that ends at {end}", exchange)
    for exchange, _ in of_request(transcript.steps("after the span"), "later"):
        raise Failed("a report came after the request's time was over", exchange)


@check("RP-29", "spans")
def the_past_begins_where_it_is_asked_for(transcript: Transcript) -> None:
    """A history has nothing that is older than the dtstart of its request."""
    if "past" not in transcript.facts:
        raise NotObservable("the VEN offers no HISTORY_USAGE")
    past = transcript.facts["past"]
    start, step = judge.date_time(past["start"]), timedelta(seconds=past["step_s"])
    reports = of_request(played(transcript, "past"), "past")
    if not reports:
        raise NotObservable("the VEN has no past yet")
    for exchange, report in reports:
        for at in _starts(report):
            if at <= start - step:
                raise Failed(f"data of {at} for a request that begins at {start}", exchange)


@check("RP-30", "spans")
def more_than_is_offered_is_refused(transcript: Transcript) -> None:
    """A history that goes back twice as far as what is offered gets exactly 454."""
    if not transcript.steps("too much past"):
        raise NotObservable("the VEN offers no HISTORY_USAGE of a certain duration")
    exchanges = played(transcript, "too much past")
    answered = list(messages(exchanges, "oadrCreatedReport"))
    if not answered:
        raise Failed("no oadrCreatedReport", *exchanges[:20])
    exchange, document = answered[0]
    if document.code != _TOO_MUCH:
        raise Failed(f"{document.code} in place of 454", exchange)


@check("RP-46", "spans")
def a_report_has_as_many_intervals_as_fit(transcript: Transcript) -> None:
    """Each data point has reportBackDuration divided by granularity intervals, or one more or less."""
    exchange, report = _asked(transcript, "several")[-1]
    for r_id, count in Counter(report.texts("strm:intervals/ei:interval//ei:rID")).items():
        if abs(count - _SEVERAL) > 1:
            raise Failed(f"{count} intervals of '{r_id}' in place of {_SEVERAL}", exchange)


@check("RP-50", "spans")
def a_status_has_the_same_items_throughout(transcript: Transcript) -> None:
    """All intervals of a status have the same items of the load control state."""
    for exchange, report in _asked(transcript, "status"):
        items: dict[str, set[str]] = {}
        for payload in map(Document, report.all(".//oadr:oadrReportPayload")):
            r_id = payload.text("ei:rID") or ""
            names = {etree.QName(each).localname for each in payload.all(_STATES)}
            if items.setdefault(r_id, names) != names:
                raise Failed(f"intervals of '{r_id}' have other items than the first", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    new_metadata_makes_requests_void,
    a_report_has_its_span,
    the_past_begins_where_it_is_asked_for,
    more_than_is_offered_is_refused,
    a_report_has_as_many_intervals_as_fit,
    a_status_has_the_same_items_throughout,
)
