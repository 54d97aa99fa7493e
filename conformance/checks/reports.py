"""RP: EiReport."""

from collections.abc import Iterator
from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.dialogues.vtn_reports import VTN_REPORTS
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.verdict import Failed, NotApplicable, NotObservable

_OK: Final = 200
_NOT_OFFERED: Final = (452, 453, 461)
_METADATA: Final = "METADATA"
_DESCRIPTIONS: Final = "oadr:oadrReportDescription"
_PENDING: Final = "oadr:oadrPendingReports/ei:reportRequestID"
_PAYLOADS: Final = "ei:reportSpecifier/ei:specifierPayload"


def _offered(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield every oadrRegisterReport of the VTN."""
    for exchange, document in judge.readable(transcript):
        if document.name == "oadrRegisterReport":
            yield exchange, document


def own_reports(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    """Return the reports that the VTN offers. Raises NotApplicable if it offers none."""
    reports = [
        (exchange, Document(report))
        for exchange, document in _offered(transcript)
        for report in document.all("oadr:oadrReport")
    ]
    if not reports:
        raise NotApplicable("the VTN offers no reports")
    return reports


def _asked(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    """Return every report request of the VTN, in oadrCreateReport or piggybacked. Raises NotObservable without any."""
    asked = []
    for exchange, document in judge.readable(transcript):
        if document.name in ("oadrCreateReport", "oadrRegisteredReport"):
            asked += [(exchange, Document(each)) for each in document.all("oadr:oadrReportRequest")]
    if not asked:
        raise NotObservable("the VTN asked for no report")
    return asked


def _specifier(request: Document) -> str | None:
    return request.text("ei:reportSpecifier/ei:reportSpecifierID")


@check("RP-01", "metadata", also="push")
def metadata_comes_first(transcript: Transcript) -> None:
    """After a first registration the VTN's oadrRegisterReport comes, polled or pushed, before its other requests."""
    _registers_first([exchange for exchange in needed(transcript, "early") if exchange.step == "early"])
    if pushes := [exchange for exchange in transcript if exchange.is_push]:
        _registers_first(pushes)


def _registers_first(exchanges: list[Exchange]) -> None:
    """Raise Failed if another request comes before oadrRegisterReport, or none comes at all."""
    for exchange in exchanges:
        document = judge.answer(exchange)
        if document.name == "oadrRegisterReport":
            return
        if document.name not in ("oadrResponse", "oadrDistributeEvent"):
            raise Failed(f"{document.name} came before oadrRegisterReport", exchange)
    raise Failed("the VTN registered no reports", *exchanges[-1:])


@check("RP-02", "metadata")
def nothing_to_report_is_said(transcript: Transcript) -> None:
    """A VTN registers reports also when it has none; then the message has no oadrReport."""
    if not list(_offered(transcript)):
        raise Failed("no oadrRegisterReport came", *needed(transcript, "early")[-1:])
    for exchange in needed(transcript, "offer:nothing"):
        judge.accepted(exchange, "oadrRegisteredReport")


@check("RP-03", "renewals")
def new_metadata_ends_old_requests(transcript: Transcript) -> None:
    """With other metadata the old requests are over: their data is refused, or told to stop."""
    for exchange in needed(transcript, "renewed:offer"):
        judge.accepted(exchange, "oadrRegisteredReport")
    for exchange in needed(transcript, "renewed:old data"):
        document = judge.answer(exchange, "oadrUpdatedReport")
        if document.code == _OK and not document.texts("oadr:oadrCancelReport/ei:reportRequestID"):
            raise Failed("data of a request for the old metadata is taken", exchange)


@check("RP-04", "metadata")
def metadata_describes_and_holds_no_data(transcript: Transcript) -> None:
    """A metadata report has descriptions, a METADATA_ name and a duration, but no intervals and no dtstart."""
    for exchange, report in own_reports(transcript):
        if not report.all(_DESCRIPTIONS) or not (report.text("ei:reportName") or "").startswith(_METADATA):
            raise Failed("a report without descriptions, or not named METADATA_", exchange)
        if report.all("xcal:dtstart | strm:intervals") or not report.all("xcal:duration"):
            raise Failed("a metadata report with data, or without duration", exchange)


@check("RP-05", "metadata")
def ids_of_metadata_are_unique(transcript: Transcript) -> None:
    """A message has each reportSpecifierID once, a report each rID once."""
    for exchange, report in own_reports(transcript):
        r_ids = report.texts(f"{_DESCRIPTIONS}/ei:rID")
        if len(set(r_ids)) != len(r_ids):
            raise Failed("an rID occurs twice in a report", exchange)
    for exchange, document in _offered(transcript):
        specifiers = document.texts("oadr:oadrReport/ei:reportSpecifierID")
        if len(set(specifiers)) != len(specifiers):
            raise Failed("a reportSpecifierID occurs twice in a message", exchange)


@check("RP-06", "metadata")
def metadata_names_the_request_that_it_answers(transcript: Transcript) -> None:
    """ReportRequestID stands in the message exactly if it was asked for, as in the request; in a report it is 0."""
    for exchange, document in _offered(transcript):
        if strange := set(document.texts("oadr:oadrReport/ei:reportRequestID")) - {"0"}:
            raise Failed(f"a metadata report has the reportRequestID {min(strange)}", exchange)
    for exchange in needed(transcript, "early"):
        if exchange.step == "early":
            document = judge.answer(exchange)
            if document.name == "oadrRegisterReport" and document.text("ei:reportRequestID") is not None:
                raise Failed("metadata that nobody asked for names a request", exchange)
    for asks, came in zip(needed(transcript, "asks"), _brought(transcript), strict=False):
        wanted = judge.request(asks).text("oadr:oadrReportRequest/ei:reportRequestID")
        got = judge.answer(came, "oadrRegisterReport").text("ei:reportRequestID")
        if got != wanted:
            raise Failed(f"{came.step}: reportRequestID {got} in place of {wanted}", came)


def _brought(transcript: Transcript) -> list[Exchange]:
    return [exchange for exchange in needed(transcript, "told") if exchange.step.count(":") == 1]


@check("RP-12", "metadata")
def reports_can_be_registered(transcript: Transcript) -> None:
    """A VTN takes a VEN's metadata."""
    for exchange in needed(transcript, "offer"):
        judge.accepted(exchange, "oadrRegisteredReport")


@check("RP-14", "metadata")
def metadata_can_be_asked_for(transcript: Transcript) -> None:
    """A request for METADATA, once or periodic, is taken, and oadrRegisterReport follows."""
    for exchange in needed(transcript, "asks"):
        judge.accepted(exchange, "oadrCreatedReport")
    for exchange in _brought(transcript):
        judge.answer(exchange, "oadrRegisterReport")


@check("RP-20", "requests", also=VTN_REPORTS)
def only_what_was_offered_is_asked_for(transcript: Transcript) -> None:
    """ReportSpecifierID and rIDs of a request are those of the VEN's metadata; such a request of ours is refused."""
    offers: dict[str | None, set[str]] = {}
    for exchange in needed(transcript, "offer"):
        for report in judge.request(exchange).all("oadr:oadrReport"):
            offer = Document(report)
            offers[offer.text("ei:reportSpecifierID")] = set(offer.texts(f"{_DESCRIPTIONS}/ei:rID"))
    for exchange, request in _asked(transcript):
        if _specifier(request) != _METADATA:
            strange = set(request.texts(f"{_PAYLOADS}/ei:rID")) - offers.get(_specifier(request), set())
            if strange or _specifier(request) not in offers:
                raise Failed(f"{_specifier(request)} with {sorted(strange)} was not offered", exchange)
    for exchange in transcript.steps("beyond"):
        document = judge.answer(exchange, "oadrCreatedReport")
        if document.code not in _NOT_OFFERED:
            raise Failed(f"{exchange.step}: responseCode {document.code} in place of 452, 453 or 461", exchange)


@check("RP-21", "requests")
def requests_have_ids_of_their_own(transcript: Transcript) -> None:
    """No two requests to a VEN share a reportRequestID."""
    seen: dict[str, tuple[str | None, list[str]]] = {}
    for exchange, request in _asked(transcript):
        content = _specifier(request), request.texts(".//xcal:duration | .//ei:rID | .//xcal:date-time")
        request_id = request.text("ei:reportRequestID") or ""
        if not request_id or seen.setdefault(request_id, content) != content:
            raise Failed(f"the reportRequestID '{request_id}' is used for another report", exchange)


@check("RP-22", "requests")
def requests_hold_nothing_superfluous(transcript: Transcript) -> None:
    """No tolerance, notification, ramp-up, recovery, and no unit in a request."""
    superfluous = ".//xcal:tolerance | .//ei:x-eiNotification | .//ei:x-eiRampUp | .//ei:x-eiRecovery"
    for exchange, request in _asked(transcript):
        if request.all(superfluous) or request.all(f"{_PAYLOADS}/*[not(self::ei:rID or self::ei:readingType)]"):
            raise Failed("the request holds what no request may hold", exchange)


@check("RP-23", "requests")
def requests_leave_the_reading_type(transcript: Transcript) -> None:
    """ReadingType in a request is x-notApplicable."""
    for exchange, request in _asked(transcript):
        for text in request.texts(f"{_PAYLOADS}/ei:readingType"):
            if text != "x-notApplicable":
                raise Failed(f"readingType is {text}", exchange)


@check("RP-26", "requests")
def periodic_requests_say_from_when_and_how_long(transcript: Transcript) -> None:
    """A request with a reportBackDuration has a reportInterval with dtstart and duration."""
    periodic = 0
    for exchange, request in _asked(transcript):
        if _specifier(request) == _METADATA or not _back_s(request):
            continue
        periodic += 1
        interval = "ei:reportSpecifier/ei:reportInterval/xcal:properties"
        if not request.all(f"{interval}/xcal:dtstart") or not request.all(f"{interval}/xcal:duration"):
            raise Failed("a periodic request without reportInterval", exchange)
    if not periodic:
        raise NotObservable("the VTN asked for no periodic report")


def _back_s(request: Document) -> int:
    return judge.duration_at(request, "ei:reportSpecifier/ei:reportBackDuration/xcal:duration") or 0


@check("RP-27", "requests", also=VTN_REPORTS)
def granularity_fits_the_offer(transcript: Transcript) -> None:
    """Granularity is at least oadrMinPeriod and at most reportBackDuration, or zero; ours that is more is refused."""
    (offer, *_) = needed(transcript, "offer")
    least = judge.duration_at(judge.request(offer), ".//oadr:oadrMinPeriod") or 0
    for exchange, request in _asked(transcript):
        granularity = judge.duration_at(request, "ei:reportSpecifier/xcal:granularity/xcal:duration") or 0
        if _back_s(request) and granularity and not least <= granularity <= _back_s(request):
            raise Failed(f"granularity {granularity} s is not between {least} s and {_back_s(request)} s", exchange)
    for exchange in transcript.steps("too coarse"):
        judge.refused(exchange, "oadrCreatedReport")


@check("RP-31", "metadata", also=VTN_REPORTS)
def what_is_to_come_is_listed(transcript: Transcript) -> None:
    """OadrCreatedReport lists each reportRequestID still to be delivered, oadrCanceledReport none that has ended."""
    for exchange in needed(transcript, "asks"):
        wanted = judge.request(exchange).texts("oadr:oadrReportRequest/ei:reportRequestID")
        pending = judge.accepted(exchange, "oadrCreatedReport").texts(_PENDING)
        if missing := set(wanted) - set(pending):
            raise Failed(f"{exchange.step}: {min(missing)} is not among the pending reports", exchange)
    for exchange in transcript.steps("ends:stopped"):
        stopped = judge.request(exchange).texts("ei:reportRequestID")
        if set(stopped) & set(judge.answer(exchange).texts(_PENDING)):
            raise Failed(f"{exchange.step}: what was cancelled is among the pending reports", exchange)


@check("RP-52", "requests")
def the_report_id_does_not_matter(transcript: Transcript) -> None:
    """Any eiReportID is taken."""
    for exchange in needed(transcript, "odd id"):
        judge.accepted(exchange, "oadrUpdatedReport")


@check("RP-53", "requests")
def a_report_may_be_repeated(transcript: Transcript) -> None:
    """The same report again is no error."""
    for step in ("data:good", "data:again"):
        for exchange in needed(transcript, step):
            judge.accepted(exchange, "oadrUpdatedReport")


@check("RP-54", "requests")
def any_text_is_an_r_id(transcript: Transcript) -> None:
    """An rID of spaces, marks and other letters is asked for as it was offered, and its data is taken."""
    for exchange in needed(transcript, "odd rID"):
        judge.accepted(exchange, "oadrUpdatedReport")


@check("RP-55", "requests")
def wrong_ids_in_data_are_refused(transcript: Transcript) -> None:
    """Unknown requests, specifiers, rIDs and venIDs get 452."""
    for exchange in needed(transcript, "wrong"):
        judge.refused(exchange, "oadrUpdatedReport", code=452)


@check("RP-60", "requests")
def reports_are_cancelled(transcript: Transcript) -> None:
    """The VTN's oadrCancelReport names what it stops; an unknown id in a VEN's gets 4xx."""
    for exchange in needed(transcript, "stops:unknown"):
        judge.refused(exchange, "oadrCanceledReport")
    ordered = {request.text("ei:reportRequestID") for _, request in _asked(transcript)}
    named: set[str] = set()
    for exchange in needed(transcript, "stopped"):
        document = judge.answer(exchange)
        if document.name == "oadrCancelReport":
            named |= set(document.texts("ei:reportRequestID"))
            if strange := named - ordered:
                raise Failed(f"oadrCancelReport names {', '.join(sorted(strange))}", exchange)
    if not named and not _told_beside(transcript):
        raise Failed("no oadrCancelReport came for cancelled reports", *needed(transcript, "stopped")[-1:])


def _told_beside(transcript: Transcript) -> list[str]:
    """Return the reportRequestIDs that oadrUpdatedReport told to stop after the end."""
    texts = []
    for exchange in transcript.steps("data:after the end"):
        texts += judge.answer(exchange, "oadrUpdatedReport").texts("oadr:oadrCancelReport/ei:reportRequestID")
    return texts


@check("RP-62", "requests", also=VTN_REPORTS)
def only_the_report_at_hand_is_cancelled_beside_it(transcript: Transcript) -> None:
    """OadrCancelReport in oadrUpdatedReport only names reports of the update that it answers; what it names ends."""
    _ended_beside(transcript)
    seen = False
    for exchange in transcript:
        if exchange.answer is None or judge.request(exchange).name != "oadrUpdateReport":
            continue
        beside = set(judge.answer(exchange).texts("oadr:oadrCancelReport/ei:reportRequestID"))
        seen = seen or bool(beside)
        if strange := beside - set(judge.request(exchange).texts("oadr:oadrReport/ei:reportRequestID")):
            raise Failed(f"{exchange.step}: {', '.join(sorted(strange))} is not in the update", exchange)
    if not seen:
        raise NotObservable("no oadrUpdatedReport carried an oadrCancelReport")


def _ended_beside(transcript: Transcript) -> None:
    """Raise Failed if data comes of a report that a VEN has cancelled in its oadrUpdatedReport."""
    ended: set[str] = set()
    for exchange in transcript:
        if exchange.answer is None or exchange.is_push:
            continue
        if again := ended & set(judge.answer(exchange).texts("self::oadr:oadrUpdateReport//ei:reportRequestID")):
            raise Failed(f"data of '{min(again)}' came after it was cancelled in oadrUpdatedReport", exchange)
        ended |= set(
            judge.request(exchange).texts("self::oadr:oadrUpdatedReport/oadr:oadrCancelReport/ei:reportRequestID")
        )


CHECKS: Final[tuple[Check, ...]] = (
    metadata_comes_first,
    nothing_to_report_is_said,
    new_metadata_ends_old_requests,
    metadata_describes_and_holds_no_data,
    ids_of_metadata_are_unique,
    metadata_names_the_request_that_it_answers,
    reports_can_be_registered,
    metadata_can_be_asked_for,
    only_what_was_offered_is_asked_for,
    requests_have_ids_of_their_own,
    requests_hold_nothing_superfluous,
    requests_leave_the_reading_type,
    periodic_requests_say_from_when_and_how_long,
    granularity_fits_the_offer,
    what_is_to_come_is_listed,
    the_report_id_does_not_matter,
    a_report_may_be_repeated,
    any_text_is_an_r_id,
    wrong_ids_in_data_are_refused,
    reports_are_cancelled,
    only_the_report_at_hand_is_cancelled_beside_it,
)
