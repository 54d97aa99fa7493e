"""RP: what a VEN offers, and what it reports."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.checks.said import messages, played, told
from conformance.verdict import Failed, NotObservable
from conformance.vocabulary import DEVICE_CLASSES

_NO_TIME: Final = "strm:intervals | xcal:dtstart | ei:eiReportID"
_EARLY: Final = frozenset(
    {"oadrQueryRegistration", "oadrCreatePartyRegistration", "oadrRegisterReport", "oadrRequestEvent"}
)
_ASKED_FOR: Final = ("metadata", "voiding")
"""The steps in which the VEN is asked for its metadata."""
_BOTH: Final = 2
_ALL: Final = 100
"""Percent."""
_NOT_OFFERED: Final = (452, 453, 461)


def _offers(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    """Return the reports of the metadata. Raises NotObservable without any."""
    offers = [
        (exchange, Document(report))
        for exchange, document in messages(transcript, "oadrRegisterReport")
        for report in document.all("oadr:oadrReport")
    ]
    if not offers:
        raise NotObservable("the VEN offers no report")
    return offers


def _named(transcript: Transcript, name: str) -> list[tuple[Exchange, Document]]:
    return [(exchange, report) for exchange, report in _offers(transcript) if report.text("ei:reportName") == name]


def _reports(exchanges: Sequence[Exchange] | Transcript) -> list[tuple[Exchange, Document]]:
    """Return the reports of data."""
    return [
        (exchange, Document(report))
        for exchange, document in messages(tuple(exchanges), "oadrUpdateReport")
        for report in document.all("oadr:oadrReport")
    ]


def _data(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    reports = _reports(transcript)
    if not reports:
        raise NotObservable("the VEN sent no data")
    return reports


def length_s(interval: Document) -> int | None:
    """Return how long an interval lasts, seconds; None without a duration, or with one that is none (GN-05)."""
    text = (interval.text("xcal:duration/xcal:duration") or "").strip()
    return judge.seconds(text) if judge.is_duration(text) else None


def of_request(exchanges: Sequence[Exchange], request_id: str) -> list[tuple[Exchange, Document]]:
    """Return the reports of a request that came in some exchanges."""
    return [pair for pair in _reports(exchanges) if pair[1].text("ei:reportRequestID") == request_id]


def _after(transcript: Transcript, request_id: str) -> tuple[Exchange, ...]:
    """Return what came after a report was ended. Raises NotObservable if that was not played."""
    if request_id not in transcript.facts.get("ended", ()):
        raise NotObservable(f"the report '{request_id}' was not ended")
    return tuple(each for each in transcript if each.step.startswith(f"ended:{request_id}:"))


def _points(transcript: Transcript) -> list[str]:
    """Return the data points that were asked for. Raises NotObservable if none were."""
    telemetry = transcript.facts.get("telemetry")
    if not telemetry:
        raise NotObservable("the VEN offers no TELEMETRY_USAGE")
    return list(telemetry["points"])


# -- metadata


@check("RP-01", "joining")
def metadata_comes_first(transcript: Transcript) -> None:
    """After the registration nothing comes before oadrRegisterReport but oadrRequestEvent."""
    for exchange, document in messages(transcript):
        if document.name == "oadrRegisterReport":
            return
        if document.name not in _EARLY:
            raise Failed(f"{document.name} comes before oadrRegisterReport", exchange)
    raise NotObservable("the VEN sent no oadrRegisterReport")


@check("RP-02", "joining")
def our_metadata_is_answered(transcript: Transcript) -> None:
    """It sends metadata, if only to say that there is none, and answers ours, which is empty."""
    joined = played(transcript, "joining")
    if not list(messages(transcript, "oadrRegisterReport")):
        raise Failed("the VEN sent no oadrRegisterReport", *joined[:5])
    answered = list(messages(played(transcript, "our metadata"), "oadrRegisteredReport"))
    if not answered:
        raise Failed("the VEN did not answer an oadrRegisterReport", *played(transcript, "our metadata")[:20])
    if answered[0][1].code != judge.OK:
        raise Failed(f"an empty oadrRegisterReport got {answered[0][1].code}", answered[0][0])


@check("RP-04", "joining")
def a_metadata_report_is_complete(transcript: Transcript) -> None:
    """METADATA_ in its name, descriptions, a duration; no intervals, dtstart or eiReportID."""
    for exchange, report in _offers(transcript):
        name = report.text("ei:reportName") or ""
        if not name.startswith(("METADATA_", "x-")):
            raise Failed(f"a report of the metadata is called '{name}'", exchange)
        if not report.all("oadr:oadrReportDescription") or not report.text("xcal:duration/xcal:duration"):
            raise Failed(f"{name} has no description or no duration", exchange)
        if report.all(_NO_TIME):
            raise Failed(f"{name} has intervals, dtstart or eiReportID", exchange)


@check("RP-05", "joining")
def ids_of_metadata_are_unique(transcript: Transcript) -> None:
    """No two reports share a reportSpecifierID, and no two data points of a report an rID."""
    for exchange, document in messages(transcript, "oadrRegisterReport"):
        reports = [Document(each) for each in document.all("oadr:oadrReport")]
        _unique(exchange, [report.text("ei:reportSpecifierID") or "" for report in reports])
        for report in reports:
            _unique(exchange, report.texts("oadr:oadrReportDescription/ei:rID"))


def _unique(exchange: Exchange, ids: Sequence[str]) -> None:
    if twice := [text for text, count in Counter(ids).items() if count > 1]:
        raise Failed(f"the id '{twice[0]}' occurs twice", exchange)


@check("RP-06", EVERY)
def metadata_has_the_request_id_0(transcript: Transcript) -> None:
    """ReportRequestID is 0; the whole message has one only if it was asked for, and repeats it."""
    for exchange, report in _offers(transcript):
        if (text := report.text("ei:reportRequestID")) != "0":
            raise Failed(f"a metadata report has the reportRequestID '{text}'", exchange)
    for exchange, document in messages(transcript, "oadrRegisterReport"):
        wanted = "the metadata" if exchange.step.partition(":")[0] in _ASKED_FOR else None
        if (text := document.text("ei:reportRequestID")) and text != wanted:
            raise Failed(f"the message has the reportRequestID '{text}'", exchange)


@check("RP-07", "joining")
def telemetry_states_its_sampling_rate(transcript: Transcript) -> None:
    """Each data point has an oadrSamplingRate, with an oadrMaxPeriod of at most the report's duration."""
    offers = _named(transcript, "METADATA_TELEMETRY_USAGE") + _named(transcript, "METADATA_TELEMETRY_STATUS")
    if not offers:
        raise NotObservable("the VEN offers no telemetry")
    for exchange, report in offers:
        holds_s = judge.seconds((report.text("xcal:duration/xcal:duration") or "").strip())
        for point in map(Document, report.all("oadr:oadrReportDescription")):
            longest = point.text("oadr:oadrSamplingRate/oadr:oadrMaxPeriod/descendant-or-self::*[not(*)]")
            if longest is None:
                raise Failed(f"the data point '{point.text('ei:rID')}' has no sampling rate", exchange)
            if holds_s and judge.seconds(longest.strip()) > holds_s:
                raise Failed(f"oadrMaxPeriod {longest} is longer than the report holds", exchange)


@check("RP-08", "joining")
def each_report_has_its_types(transcript: Transcript) -> None:
    """Usage is read directly and in a unit of power, energy or pulses; a status has neither unit nor reading type."""
    for exchange, report in _offers(transcript):
        name = report.text("ei:reportName") or ""
        for point in map(Document, report.all("oadr:oadrReportDescription")):
            kind, reading = point.text("ei:reportType"), point.text("ei:readingType")
            units = point.all("power:powerReal | power:energyReal | oadr:pulseCount")
            if name.endswith("_USAGE") and kind == "usage" and (reading != "Direct Read" or not units):
                raise Failed(f"a data point of {name} has the reading type '{reading}', or no unit", exchange)
            if name.endswith("_STATUS") and (kind, reading) != ("x-resourceStatus", "x-notApplicable"):
                raise Failed(f"a data point of {name} is '{kind}', '{reading}'", exchange)


@check("RP-09", "joining")
def a_subject_is_a_device_class(transcript: Transcript) -> None:
    """ReportSubject names device classes of the list, or is left out."""
    for exchange, report in _offers(transcript):
        for name in report.texts(".//ei:reportSubject/power:endDeviceAsset/power:mrid"):
            if name not in DEVICE_CLASSES and not name.startswith("x-"):
                raise Failed(f"the reportSubject is '{name}'", exchange)
        if report.all(".//ei:reportSubject/*[not(self::power:endDeviceAsset)]"):
            raise Failed("a reportSubject names something else than device classes", exchange)


@check("RP-11", "joining")
def the_least_is_offered(transcript: Transcript) -> None:
    """TELEMETRY_STATUS is offered, and TELEMETRY_USAGE."""
    names = {report.text("ei:reportName") for _, report in _offers(transcript)}
    if missing := {"METADATA_TELEMETRY_STATUS", "METADATA_TELEMETRY_USAGE"} - names:
        raise Failed(f"no {' and no '.join(sorted(missing))}", _offers(transcript)[0][0])


@check("RP-14", "reports")
def metadata_comes_when_asked_for(transcript: Transcript) -> None:
    """A request for METADATA is answered by oadrCreatedReport, and then by oadrRegisterReport."""
    names = [
        document.name
        for _, document in messages(played(transcript, "metadata"), "oadrCreatedReport", "oadrRegisterReport")
    ]
    if names[:2] != ["oadrCreatedReport", "oadrRegisterReport"]:
        raise Failed(f"it sent {', '.join(names) or 'nothing'}", *played(transcript, "metadata")[:20])


@check("RP-13", "reports")
def a_request_may_come_along(transcript: Transcript) -> None:
    """What oadrRegisteredReport asks for is answered by oadrCreatedReport, and reported."""
    _points(transcript)
    if not [True for _, document in told(played(transcript, "metadata"), "oadrRegisteredReport")]:
        raise NotObservable("the VEN did not send its metadata again")
    exchanges = played(transcript, "metadata")
    if len(list(messages(exchanges, "oadrCreatedReport"))) < _BOTH:
        raise Failed("a request that came along is not answered by oadrCreatedReport", *exchanges[:20])
    if not of_request(exchanges, "along"):
        raise Failed("a request that came along is not served", *exchanges[:20])


# -- requests


@check("RP-20", "reports")
def only_what_is_offered_can_be_asked_for(transcript: Transcript) -> None:
    """An unknown specifier, and an unknown rID, get 452, 453 or 461."""
    steps = dict.fromkeys(":".join(each.step.split(":")[:2]) for each in transcript.steps("not offered"))
    if not steps:
        raise NotObservable("nothing of the kind was asked for")
    for step in steps:
        answered = list(messages(played(transcript, step), "oadrCreatedReport"))
        if not answered:
            raise Failed(f"{step}: no oadrCreatedReport", *played(transcript, step)[:20])
        exchange, document = answered[0]
        if document.code not in _NOT_OFFERED:
            raise Failed(f"{step}: {document.code} in place of 452, 453 or 461", exchange)


@check("RP-24", "reports")
def one_report_at_once(transcript: Transcript) -> None:
    """With a reportBackDuration of 0 one report comes, with one interval for each data point."""
    _points(transcript)
    reports = of_request(played(transcript, "once"), "once")
    if not reports:
        raise Failed("no report came", *played(transcript, "once")[:20])
    if len(reports) > 1:
        raise Failed(f"{len(reports)} reports came", *(exchange for exchange, _ in reports))
    exchange, report = reports[0]
    for r_id, count in Counter(report.texts("strm:intervals/ei:interval//ei:rID")).items():
        if count > 1:
            raise Failed(f"{count} intervals of '{r_id}'", exchange)


@check("RP-51", "reports")
def what_is_asked_for_at_once_is_of_now(transcript: Transcript) -> None:
    """One report at once has the newest sample, with its duration where a range of rates is offered."""
    _points(transcript)
    reports, rates = of_request(played(transcript, "once"), "once"), transcript.facts["telemetry"]
    if not reports:
        raise NotObservable("no report came")
    longest_s = float(rates["longest_s"])
    oldest = judge.after(judge.date_time(rates["asked_at"]), -longest_s - float(rates["step_s"]))
    for exchange, report in reports:
        for interval in map(Document, report.all("strm:intervals/ei:interval")):
            length = length_s(interval)
            if not interval.all("xcal:duration") and longest_s > float(rates["step_s"]):
                raise Failed("an interval has no duration, and several rates are offered", exchange)
            start = interval.text("xcal:dtstart/xcal:date-time") or report.text("xcal:dtstart/xcal:date-time") or ""
            end = judge.after(judge.date_time(start.strip()), length or 0)
            if end < oldest:
                raise Failed(f"the sample ends at {end}, and newer ones are kept each {longest_s:.0f} s", exchange)


@check("RP-25", "reports")
def periodic_reports_come_by_themselves(transcript: Transcript) -> None:
    """A report comes each time that reportBackDuration has passed."""
    _points(transcript)
    step_s = float(transcript.facts["telemetry"]["step_s"])
    reports = of_request(tuple(transcript), "to be cancelled")
    if len(reports) < _BOTH:
        raise Failed(f"{len(reports)} reports came of a periodic request", *(exchange for exchange, _ in reports))
    for (earlier, _), (later, _) in pairwise(reports):
        gap_s = (later.at - earlier.at).total_seconds()
        if gap_s > 4 * step_s + 4 * float(transcript.facts["poll_s"]):
            raise Failed(f"{gap_s:.0f} s between reports of every {step_s:.0f} s", earlier, later)


@check("RP-27", "reports")
def a_granularity_beyond_the_report_is_refused(transcript: Transcript) -> None:
    """A granularity that is longer than reportBackDuration gets a 4xx."""
    _points(transcript)
    answered = list(messages(played(transcript, "too fine"), "oadrCreatedReport"))
    if not answered:
        raise Failed("no oadrCreatedReport", *played(transcript, "too fine")[:20])
    exchange, document = answered[0]
    if not judge.is_error(document.code):
        raise Failed(f"a granularity of an hour for reports each minute got {document.code}", exchange)


@check("RP-31", "reports")
def what_is_still_to_come_is_named(transcript: Transcript) -> None:
    """OadrCreatedReport and oadrCanceledReport name the requests that are still to be served."""
    _points(transcript)
    for name in ("to be cancelled", "to be ended"):
        for exchange, document in messages(played(transcript, f"periodic:{name}"), "oadrCreatedReport"):
            if name not in document.texts("oadr:oadrPendingReports/ei:reportRequestID"):
                raise Failed(f"oadrCreatedReport does not name '{name}'", exchange)
    for exchange, document in messages(played(transcript, "cancel"), "oadrCanceledReport"):
        if document.code == judge.OK and "to be cancelled" in document.texts(".//ei:reportRequestID"):
            raise Failed("oadrCanceledReport names what was cancelled", exchange)


# -- data


@check("RP-40", "reports")
def a_report_is_complete(transcript: Transcript) -> None:
    """dtstart, intervals, a name without METADATA_, all data points that were asked for, no description."""
    points = set(_points(transcript))
    for exchange, report in _data(transcript):
        if not report.text("xcal:dtstart/xcal:date-time") or not report.all("strm:intervals/ei:interval"):
            raise Failed("a report has no dtstart or no intervals", exchange)
        if (report.text("ei:reportName") or "").startswith("METADATA_") or report.all("oadr:oadrReportDescription"):
            raise Failed("a report of data looks like metadata", exchange)
        if missing := points - set(report.texts(".//oadr:oadrReportPayload/ei:rID")):
            raise Failed(f"a report lacks the data point '{min(missing)}'", exchange)


def _starts(report: Document) -> list[str]:
    return report.texts("strm:intervals/ei:interval/xcal:dtstart/xcal:date-time")


@check("RP-41", "reports")
def a_report_begins_with_its_first_interval(transcript: Transcript) -> None:
    """Its dtstart is that of the first interval; if one has a dtstart all have, from old to new."""
    for exchange, report in _data(transcript):
        starts, intervals = _starts(report), report.all("strm:intervals/ei:interval")
        if starts and len(starts) != len(intervals):
            raise Failed("some intervals have a dtstart, and some have none", exchange)
        times = [judge.date_time(text.strip()) for text in starts]
        if times != sorted(times):
            raise Failed("the intervals do not stand from old to new", exchange)
        begins = judge.date_time((report.text("xcal:dtstart/xcal:date-time") or "").strip())
        if times and times[0] != begins:
            raise Failed(f"the report begins at {begins}, and its first interval at {times[0]}", exchange)


@check("RP-42", "reports")
def intervals_have_durations_or_starts(transcript: Transcript) -> None:
    """If one interval has a duration all have; several without dtstart need it."""
    for exchange, report in _data(transcript):
        intervals = report.all("strm:intervals/ei:interval")
        lengths = report.all("strm:intervals/ei:interval/xcal:duration")
        if lengths and len(lengths) != len(intervals):
            raise Failed("some intervals have a duration, and some have none", exchange)
        if len(intervals) > 1 and not _starts(report) and not lengths:
            raise Failed("several intervals have neither dtstart nor duration", exchange)


@check("RP-44", "reports")
def intervals_are_numbered(transcript: Transcript) -> None:
    """Intervals without dtstart have the uids 0, 1, 2 ..."""
    for exchange, report in _data(transcript):
        uids = report.texts("strm:intervals/ei:interval/xcal:uid/xcal:text")
        wanted = [str(number) for number in range(len(report.all("strm:intervals/ei:interval")))]
        if not _starts(report) and uids != wanted:
            raise Failed(f"the uids are '{', '.join(uids)}'", exchange)


@check("RP-45", "reports")
def a_duration_is_that_of_all_intervals(transcript: Transcript) -> None:
    """A report's duration is the sum of its intervals', where they follow each other."""
    for exchange, report in _data(transcript):
        whole = report.text("xcal:duration/xcal:duration")
        lengths = report.texts("strm:intervals/ei:interval/xcal:duration/xcal:duration")
        if whole is None or not lengths or _starts(report):
            continue
        if judge.seconds(whole.strip()) != sum(judge.seconds(text.strip()) for text in lengths):
            raise Failed(f"the report lasts {whole}, and its intervals do not", exchange)


@check("RP-48", "reports")
def values_have_a_quality_of_the_list(transcript: Transcript) -> None:
    """A quality says Good, Bad, Limit or No ...; a placeholder's begins with `Quality Bad - `."""
    for exchange, report in _data(transcript):
        for text in report.texts(".//oadr:oadrReportPayload/oadr:oadrDataQuality"):
            if not text.startswith(("Quality ", "Limit - ", "No ", "x-")):
                raise Failed(f"the quality is '{text}'", exchange)


@check("RP-49", "reports")
def a_confidence_is_a_percentage(transcript: Transcript) -> None:
    """Confidence is a whole number from 0 to 100."""
    for exchange, report in _data(transcript):
        for text in report.texts(".//ei:confidence"):
            if not text.strip().isdigit() or int(text) > _ALL:
                raise Failed(f"the confidence is {text}", exchange)


@check("RP-60", "reports")
def a_cancelled_report_ends(transcript: Transcript) -> None:
    """An unknown id gets a 4xx; a report that runs is cancelled with 200, and no data of it comes."""
    _points(transcript)
    answered = list(messages(played(transcript, "cancel"), "oadrCanceledReport"))
    by_id = {document.text("ei:eiResponse/pyld:requestID"): (exchange, document) for exchange, document in answered}
    if not {"cancel nothing", "cancel"} <= by_id.keys():
        raise Failed("a cancellation was not answered", *played(transcript, "cancel")[:20])
    exchange, document = by_id["cancel nothing"]
    if not judge.is_error(document.code):
        raise Failed(f"the cancellation of an unknown report got {document.code}", exchange)
    exchange, document = by_id["cancel"]
    if document.code != judge.OK:
        raise Failed(f"the cancellation of a report that runs got {document.code}", exchange)
    for exchange, _ in of_request(_after(transcript, "to be cancelled"), "to be cancelled"):
        raise Failed("data came after the cancellation", exchange)


@check("RP-61", "reports")
def no_last_report_unless_it_is_wanted(transcript: Transcript) -> None:
    """With reportToFollow false nothing comes after the answer to the cancellation."""
    _points(transcript)
    over = False
    for exchange, document in messages(transcript):
        over = over or (document.name == "oadrCanceledReport" and document.code == judge.OK)
        if over and of_request((exchange,), "to be cancelled"):
            raise Failed("data came after oadrCanceledReport", exchange)
    if not over:
        raise NotObservable("no cancellation was answered with 200")


@check("RP-62", "reports")
def a_cancellation_comes_along_with_an_answer(transcript: Transcript) -> None:
    """An oadrCancelReport in oadrUpdatedReport ends the report, and is not confirmed."""
    _points(transcript)
    played(transcript, "ending")
    for exchange, _ in of_request(_after(transcript, "to be ended"), "to be ended"):
        raise Failed("data came after the cancellation", exchange)
    for exchange, _ in messages(_after(transcript, "to be ended"), "oadrCanceledReport"):
        raise Failed("the cancellation is confirmed", exchange)


@check("TR-12", "reports")
def the_same_request_twice_does_no_harm(transcript: Transcript) -> None:
    """A report request that comes twice is answered twice with 200, and brings one report, or the same again."""
    _points(transcript)
    answered = list(messages(played(transcript, "twice"), "oadrCreatedReport"))
    if len(answered) != _BOTH:
        raise Failed(f"{len(answered)} answers to two requests", *(exchange for exchange, _ in answered))
    for exchange, document in answered:
        if document.code != judge.OK:
            raise Failed(f"the same request got {document.code}", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    metadata_comes_first,
    our_metadata_is_answered,
    a_metadata_report_is_complete,
    ids_of_metadata_are_unique,
    metadata_has_the_request_id_0,
    telemetry_states_its_sampling_rate,
    each_report_has_its_types,
    a_subject_is_a_device_class,
    the_least_is_offered,
    metadata_comes_when_asked_for,
    a_request_may_come_along,
    only_what_is_offered_can_be_asked_for,
    one_report_at_once,
    what_is_asked_for_at_once_is_of_now,
    periodic_reports_come_by_themselves,
    a_granularity_beyond_the_report_is_refused,
    what_is_still_to_come_is_named,
    a_report_is_complete,
    a_report_begins_with_its_first_interval,
    intervals_have_durations_or_starts,
    intervals_are_numbered,
    a_duration_is_that_of_all_intervals,
    values_have_a_quality_of_the_list,
    a_confidence_is_a_percentage,
    a_cancelled_report_ends,
    no_last_report_unless_it_is_wanted,
    a_cancellation_comes_along_with_an_answer,
    the_same_request_twice_does_no_harm,
)
