"""RP: the reports that a VTN offers to VENs, where it offers any."""

from collections import Counter
from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.checks.reports import own_reports
from conformance.dialogues.vtn_reports import VTN_REPORTS
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.verdict import Failed, NotObservable
from conformance.vocabulary import DEVICE_CLASSES

_INTERVALS: Final = "strm:intervals/ei:interval"
_STARTS: Final = f"{_INTERVALS}/xcal:dtstart/xcal:date-time"
_LENGTHS: Final = f"{_INTERVALS}/xcal:duration/xcal:duration"
_UNITS: Final = "power:powerReal | power:energyReal | oadr:pulseCount"
_INVALID_DATA: Final = 454
_TWO: Final = 2
_ALL: Final = 100
"""Percent."""


def _data(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    """Return all reports of data. Raises NotApplicable if the VTN offers none, NotObservable if none came."""
    own_reports(transcript)
    reports = [
        (exchange, Document(report))
        for exchange, document in judge.readable(transcript)
        if document.name == "oadrUpdateReport"
        for report in document.all("oadr:oadrReport")
    ]
    if not reports:
        raise NotObservable("the VTN sent no data")
    return reports


def _of(transcript: Transcript, request_id: str) -> list[tuple[Exchange, Document]]:
    """Return the data of a request. Raises NotApplicable, NotObservable if that was not asked for."""
    own_reports(transcript)
    needed(transcript, _ASKED.get(request_id, "asks:periodic"))
    reports = _data(transcript)
    return [pair for pair in reports if pair[1].text("ei:reportRequestID") == request_id]


_ASKED: Final = {"along": "along", "once": "asks:once", "part": "asks:part", "all": "asks:all"}
"""The steps in which data were asked for; all else is asked for periodically."""


def _begins(report: Document) -> str:
    return (report.text("xcal:dtstart/xcal:date-time") or "").strip()


# -- metadata


@check("RP-07", "metadata")
def telemetry_states_its_sampling_rate(transcript: Transcript) -> None:
    """Each data point of telemetry has an oadrSamplingRate, with an oadrMaxPeriod of at most the report's duration."""
    seen = False
    for exchange, report in own_reports(transcript):
        if not _name(report).startswith("TELEMETRY_"):
            continue
        seen = True
        holds_s = judge.duration_at(report, "xcal:duration/xcal:duration") or 0
        for point in map(Document, report.all("oadr:oadrReportDescription")):
            longest = point.text("oadr:oadrSamplingRate/oadr:oadrMaxPeriod")
            if longest is None:
                raise Failed(f"the data point '{point.text('ei:rID')}' has no sampling rate", exchange)
            if holds_s and judge.seconds(longest.strip()) > holds_s:
                raise Failed(f"oadrMaxPeriod {longest} is longer than the report holds", exchange)
    if not seen:
        raise NotObservable("the VTN offers no telemetry")


def _name(report: Document) -> str:
    return (report.text("ei:reportName") or "").removeprefix("METADATA_")


@check("RP-08", "metadata")
def well_known_reports_have_their_types(transcript: Transcript) -> None:
    """Usage is read directly and in a unit of power, energy or pulses; a status has neither unit nor reading type."""
    for exchange, report in own_reports(transcript):
        name = _name(report)
        for point in map(Document, report.all("oadr:oadrReportDescription")):
            types = point.text("ei:reportType"), point.text("ei:readingType")
            units = point.all(_UNITS)
            if name in ("TELEMETRY_USAGE", "HISTORY_USAGE") and (types != ("usage", "Direct Read") or not units):
                raise Failed(f"a data point of {name} is {types[0]}, {types[1]}, or has no unit", exchange)
            if name == "TELEMETRY_STATUS" and (types != ("x-resourceStatus", "x-notApplicable") or units):
                raise Failed(f"a data point of {name} is {types[0]}, {types[1]}, or has a unit", exchange)


@check("RP-09", "metadata")
def a_subject_is_a_device_class(transcript: Transcript) -> None:
    """ReportSubject names device classes of the list, or is left out."""
    for exchange, report in own_reports(transcript):
        subjects = [Document(each) for each in report.all(".//ei:reportSubject")]
        for name in (name for subject in subjects for name in subject.texts("power:endDeviceAsset/power:mrid")):
            if name not in DEVICE_CLASSES and not name.startswith("x-"):
                raise Failed(f"the reportSubject is '{name}'", exchange)
        if any(subject.all("*[not(self::power:endDeviceAsset)]") for subject in subjects):
            raise Failed("a reportSubject names something else than device classes", exchange)


# -- requests


@check("RP-13", VTN_REPORTS)
def a_request_may_come_along(transcript: Transcript) -> None:
    """What oadrRegisteredReport asks for is answered by oadrCreatedReport, and reported."""
    own_reports(transcript)
    for exchange in needed(transcript, "along"):
        judge.accepted(exchange, "oadrCreatedReport")
    if not _of(transcript, "along"):
        raise Failed("a request that came along is not served", *needed(transcript, "along data"))


@check("RP-24", VTN_REPORTS)
def one_report_at_once(transcript: Transcript) -> None:
    """With a reportBackDuration of 0 one report comes, with one interval for each data point."""
    reports = _of(transcript, "once")
    if len(reports) != 1:
        exchanges = [exchange for exchange, _ in reports] or needed(transcript, "once")
        raise Failed(f"{len(reports)} reports came of a one-shot request", *exchanges)
    ((exchange, report),) = reports
    for r_id, count in Counter(report.texts(f"{_INTERVALS}//ei:rID")).items():
        if count > 1:
            raise Failed(f"{count} intervals of '{r_id}'", exchange)


@check("RP-25", VTN_REPORTS)
def periodic_reports_come_by_themselves(transcript: Transcript) -> None:
    """A request for two reportBackDurations brings two reports, each of its own time."""
    reports = _of(transcript, "periodic")
    if not reports:
        raise NotObservable("no report of a periodic request came within the time that was waited")
    if len({_begins(report) for _, report in reports}) != _TWO or len(reports) != _TWO:
        exchanges = [exchange for exchange, _ in reports]
        raise Failed(f"{len(reports)} reports came of two reportBackDurations", *exchanges)


@check("RP-28", VTN_REPORTS)
def reports_keep_to_the_interval_of_the_request(transcript: Transcript) -> None:
    """The first periodic report begins at the dtstart that was asked for; a history ends by its duration."""
    own_reports(transcript)
    (asks, *_) = needed(transcript, "asks:periodic")
    start = judge.date_time(judge.request(asks).text(".//ei:reportInterval//xcal:date-time"))
    for exchange, report in _of(transcript, "periodic")[:1]:
        if judge.date_time(_begins(report)) != start:
            raise Failed(f"the first report begins at {_begins(report)}, and not at {start}", exchange)
        if exchange.at < start:
            raise Failed("the first report came before the time that it is about", exchange)
    if not transcript.steps("asks:part"):
        return
    request = judge.request(needed(transcript, "asks:part")[0])
    begins = judge.date_time(request.text(".//ei:reportInterval//xcal:date-time"))
    lasts_s = judge.duration_at(request, ".//ei:reportInterval//xcal:duration/xcal:duration") or 0
    for exchange, report in _of(transcript, "part"):
        for text in report.texts(_STARTS):
            if (judge.date_time(text.strip()) - begins).total_seconds() >= lasts_s:
                raise Failed(f"an interval at {text} lies behind the history that was asked for", exchange)


@check("RP-29", VTN_REPORTS)
def a_history_begins_where_it_was_asked_from(transcript: Transcript) -> None:
    """No interval of a history is older than the dtstart of the request."""
    own_reports(transcript)
    for name in ("part", "all"):
        (asks, *_) = needed(transcript, f"asks:{name}")
        start = judge.date_time(judge.request(asks).text(".//ei:reportInterval//xcal:date-time"))
        reports = _of(transcript, name)
        if not reports:
            raise Failed(f"no history came ({name})", *needed(transcript, f"past:{name}"))
        for exchange, report in reports:
            if oldest := [text for text in (_begins(report), *report.texts(_STARTS)) if judge.date_time(text) < start]:
                raise Failed(f"an interval at {oldest[0]} is older than {start}", exchange)


@check("RP-30", VTN_REPORTS)
def more_than_is_offered_is_refused(transcript: Transcript) -> None:
    """Who asks for more history than the metadata offers gets 454 in oadrCreatedReport."""
    own_reports(transcript)
    for exchange in needed(transcript, "too much"):
        judge.refused(exchange, "oadrCreatedReport", code=_INVALID_DATA)


# -- data


@check("RP-40", VTN_REPORTS)
def a_report_is_complete(transcript: Transcript) -> None:
    """dtstart, intervals, a name without METADATA_, no description, values for every rID that was asked for."""
    points = {
        report.text("ei:reportSpecifierID"): set(report.texts("oadr:oadrReportDescription/ei:rID"))
        for _, report in own_reports(transcript)
    }
    for exchange, report in _data(transcript):
        if not _begins(report) or not report.all(_INTERVALS):
            raise Failed("a report has no dtstart or no intervals", exchange)
        if (report.text("ei:reportName") or "").startswith("METADATA_") or report.all("oadr:oadrReportDescription"):
            raise Failed("a report of data looks like metadata", exchange)
        wanted = points.get(report.text("ei:reportSpecifierID"), set())
        if missing := wanted - set(report.texts(f"{_INTERVALS}/oadr:oadrReportPayload/ei:rID")):
            raise Failed(f"a report lacks the data point '{min(missing)}'", exchange)


@check("RP-41", VTN_REPORTS)
def a_report_begins_with_its_first_interval(transcript: Transcript) -> None:
    """Its dtstart is that of the first interval; if one has a dtstart all have, from old to new."""
    for exchange, report in _data(transcript):
        starts = report.texts(_STARTS)
        if starts and len(starts) != len(report.all(_INTERVALS)):
            raise Failed("some intervals have a dtstart, and some have none", exchange)
        times = [judge.date_time(text.strip()) for text in starts]
        if times != sorted(times):
            raise Failed("the intervals do not stand from old to new", exchange)
        if times and times[0] != judge.date_time(_begins(report)):
            raise Failed(f"the report begins at {_begins(report)}, and its first interval at {starts[0]}", exchange)


@check("RP-42", VTN_REPORTS)
def intervals_have_durations_or_starts(transcript: Transcript) -> None:
    """If one interval has a duration all have; several without dtstart need it."""
    for exchange, report in _data(transcript):
        intervals, lengths = report.all(_INTERVALS), report.texts(_LENGTHS)
        if lengths and len(lengths) != len(intervals):
            raise Failed("some intervals have a duration, and some have none", exchange)
        if len(intervals) > 1 and not report.texts(_STARTS) and not lengths:
            raise Failed("several intervals have neither dtstart nor duration", exchange)


@check("RP-43", VTN_REPORTS)
def energies_have_a_length(transcript: Transcript) -> None:
    """Interval data, such as energies, never have a dtstart alone."""
    energies = {
        (report.text("ei:reportSpecifierID"), point.text("ei:rID"))
        for _, report in own_reports(transcript)
        for point in map(Document, report.all("oadr:oadrReportDescription[power:energyReal]"))
    }
    if not energies:
        raise NotObservable("the VTN offers no energies, which are sure to be of intervals")
    for exchange, report in _data(transcript):
        points = {(report.text("ei:reportSpecifierID"), r_id) for r_id in report.texts(f"{_INTERVALS}//ei:rID")}
        if points & energies and report.texts(_STARTS) and not report.texts(_LENGTHS):
            raise Failed("the intervals of an energy have a dtstart and no duration", exchange)


@check("RP-44", VTN_REPORTS)
def intervals_are_numbered(transcript: Transcript) -> None:
    """Intervals without dtstart have the uids 0, 1, 2 ..."""
    plain = [(exchange, report) for exchange, report in _data(transcript) if not report.texts(_STARTS)]
    if not plain:
        raise NotObservable("all intervals have a dtstart")
    for exchange, report in plain:
        uids = report.texts(f"{_INTERVALS}/xcal:uid/xcal:text")
        if uids != [str(number) for number in range(len(report.all(_INTERVALS)))]:
            raise Failed(f"the uids are '{', '.join(uids)}'", exchange)


@check("RP-45", VTN_REPORTS)
def a_duration_is_that_of_all_intervals(transcript: Transcript) -> None:
    """A report's duration reaches from its first start to its last end."""
    seen = False
    for exchange, report in _data(transcript):
        whole_s = judge.duration_at(report, "xcal:duration/xcal:duration")
        lengths = [judge.seconds(text.strip()) for text in report.texts(_LENGTHS)]
        if whole_s is None or not lengths:
            continue
        seen = True
        spans_s = sum(lengths)
        if starts := [judge.date_time(text.strip()) for text in report.texts(_STARTS)]:
            spans_s = int((starts[-1] - starts[0]).total_seconds()) + lengths[-1]
        if whole_s != spans_s:
            raise Failed(f"the report lasts {whole_s} s, and its intervals {spans_s} s", exchange)
    if not seen:
        raise NotObservable("no report has a duration")


@check("RP-46", VTN_REPORTS)
def intervals_are_as_many_as_asked_for(transcript: Transcript) -> None:
    """A periodic report has reportBackDuration / granularity intervals, one more or less."""
    reports = _of(transcript, "periodic")
    if not reports:
        raise NotObservable("no periodic report came")
    for exchange, report in reports:
        for r_id, count in Counter(report.texts(f"{_INTERVALS}//ei:rID")).items():
            if not 0 <= count - 1 <= 1:  # granularity and reportBackDuration were the same
                raise Failed(f"{count} intervals of '{r_id}' in place of 1", exchange)


@check("RP-48", VTN_REPORTS)
def what_is_not_known_is_a_placeholder(transcript: Transcript) -> None:
    """A value that is not known is there, and its quality begins with `Quality Bad - `; all are of the list."""
    texts = [
        (exchange, text)
        for exchange, report in _data(transcript)
        for text in report.texts(".//oadr:oadrReportPayload/oadr:oadrDataQuality")
    ]
    for exchange, text in texts:
        if not text.startswith(("Quality ", "Limit - ", "No ", "x-")):
            raise Failed(f"the quality is '{text}'", exchange)
    if not any(text.startswith("Quality Bad - ") for _, text in texts):
        raise NotObservable("all values were known, or said to be")


@check("RP-49", VTN_REPORTS)
def a_confidence_is_a_percentage(transcript: Transcript) -> None:
    """Confidence is a whole number from 0 to 100."""
    texts = [(exchange, text) for exchange, report in _data(transcript) for text in report.texts(".//ei:confidence")]
    if not texts:
        raise NotObservable("no value has a confidence")
    for exchange, text in texts:
        if not text.strip().isdigit() or int(text) > _ALL:
            raise Failed(f"the confidence is {text}", exchange)


@check("RP-51", VTN_REPORTS)
def the_newest_sample_answers(transcript: Transcript) -> None:
    """A one-shot request is answered with a sample that is there; with its length, if it may be sampled variously."""
    rates = {
        tuple(Document(rate).texts("oadr:oadrMinPeriod | oadr:oadrMaxPeriod"))
        for _, report in own_reports(transcript)
        if _name(report).startswith("TELEMETRY_")
        for rate in report.all(".//oadr:oadrSamplingRate")
    }
    for exchange, report in _of(transcript, "once"):
        for text in report.texts(_STARTS) or [_begins(report)]:
            if judge.date_time(text.strip()) > exchange.at:
                raise Failed(f"the sample of {text} lies ahead", exchange)
        if any(len(set(rate)) > 1 for rate in rates) and not report.texts(_LENGTHS):
            raise Failed("the sample does not say how long it is", exchange)


# -- the end


@check("RP-61", VTN_REPORTS)
def one_last_report_follows_if_it_is_wanted(transcript: Transcript) -> None:
    """After oadrCancelReport with reportToFollow one more report comes, without it none."""
    own_reports(transcript)
    for name, wanted in (("stopped", 0), ("last", 1)):
        (cancelled, *_) = needed(transcript, f"ends:{name}")
        judge.accepted(cancelled, "oadrCanceledReport")
        behind = list(transcript)[list(transcript).index(cancelled) :]
        after = [exchange for exchange, _ in _of(transcript, name) if exchange in behind]
        if len(after) != wanted:
            text = f"{len(after)} reports in place of {wanted} came after '{name}' was cancelled"
            raise Failed(text, cancelled, *after)


CHECKS: Final[tuple[Check, ...]] = (
    telemetry_states_its_sampling_rate,
    well_known_reports_have_their_types,
    a_subject_is_a_device_class,
    a_request_may_come_along,
    one_report_at_once,
    periodic_reports_come_by_themselves,
    reports_keep_to_the_interval_of_the_request,
    a_history_begins_where_it_was_asked_from,
    more_than_is_offered_is_refused,
    a_report_is_complete,
    a_report_begins_with_its_first_interval,
    intervals_have_durations_or_starts,
    energies_have_a_length,
    intervals_are_numbered,
    a_duration_is_that_of_all_intervals,
    intervals_are_as_many_as_asked_for,
    what_is_not_known_is_a_placeholder,
    a_confidence_is_a_percentage,
    the_newest_sample_answers,
    one_last_report_follows_if_it_is_wanted,
)
