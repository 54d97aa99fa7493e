"""Encoding of EiReport messages."""

from datetime import datetime

from core.errors import InvalidError
from core.spans import ZERO, Duration
from openadr.model.report import (
    LoadControlState,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
)
from openadr.v20b.encode_parts import item_base, optional_target, response
from openadr.v20b.messages import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    UpdatedReport,
    UpdateReport,
)
from openadr.v20b.names import METADATA_PREFIX, NO_R_ID, NOT_APPLICABLE
from openadr.v20b.writing import (
    dtstart,
    duration_text,
    escape,
    flag,
    instant,
    lasting,
    leaf,
    leaves,
    number,
    optional,
    whole,
)

_METADATA_REQUEST_ID = "0"
_MOST_CONFIDENT = 100


def register_report(message: RegisterReport) -> str:
    """Write the content of an oadrRegisterReport."""
    return (
        f"{leaf('pyld:requestID', message.request_id)}{''.join(_offer(one) for one in message.offers)}"
        f"{optional('ei:venID', message.ven_id)}{optional('ei:reportRequestID', message.report_request_id)}"
    )


def _offer(report_offer: ReportOffer) -> str:
    """Write a metadata report (RP-04, RP-06). Names of one's own (`x-...`) take no METADATA_ prefix in the XSD."""
    name = (
        report_offer.name
        if report_offer.name.startswith("x-") or not report_offer.name
        else f"{METADATA_PREFIX}{report_offer.name}"
    )
    return (
        f"<oadr:oadrReport>{lasting('xcal:duration', report_offer.duration)}"
        f"{''.join(_description(one) for one in report_offer.descriptions)}"
        f"<ei:reportRequestID>{_METADATA_REQUEST_ID}</ei:reportRequestID>"
        f"{leaf('ei:reportSpecifierID', report_offer.specifier_id)}{optional('ei:reportName', name)}"
        f"{leaf('ei:createdDateTime', instant(report_offer.created_at))}</oadr:oadrReport>"
    )


def _description(description: ReportDescription) -> str:
    sampling = ""
    if (rate := description.sampling) is not None:
        sampling = (
            f"<oadr:oadrSamplingRate>{leaf('oadr:oadrMinPeriod', duration_text(rate.min_period))}"
            f"{leaf('oadr:oadrMaxPeriod', duration_text(rate.max_period))}"
            f"{leaf('oadr:oadrOnChange', flag(rate.on_change))}</oadr:oadrSamplingRate>"
        )
    return (
        f"<oadr:oadrReportDescription>{leaf('ei:rID', description.r_id)}"
        f"{optional_target('ei:reportSubject', description.subject)}"
        f"{optional_target('ei:reportDataSource', description.source)}{leaf('ei:reportType', description.report_type)}"
        f"{item_base(description.item_base)}{leaf('ei:readingType', description.reading_type)}"
        f"{optional('emix:marketContext', description.market_context)}{sampling}</oadr:oadrReportDescription>"
    )


def _request(request: ReportRequest) -> str:
    r_ids = request.r_ids or ((NO_R_ID,) if request.is_metadata else ())
    if not r_ids:
        raise InvalidError(f"Report request {request.request_id} names no rID.")
    reading_types = request.reading_types or (NOT_APPLICABLE,) * len(r_ids)
    if len(reading_types) != len(r_ids):
        raise InvalidError(
            f"Report request {request.request_id} has {len(reading_types)} reading types, {len(r_ids)} rIDs."
        )
    payloads = "".join(
        f"<ei:specifierPayload>{leaf('ei:rID', r_id)}{leaf('ei:readingType', reading)}</ei:specifierPayload>"
        for r_id, reading in zip(r_ids, reading_types, strict=True)
    )
    return (
        f"<oadr:oadrReportRequest>{leaf('ei:reportRequestID', request.request_id)}<ei:reportSpecifier>"
        f"{leaf('ei:reportSpecifierID', request.specifier_id)}{lasting('xcal:granularity', request.granularity)}"
        f"{lasting('ei:reportBackDuration', request.report_back)}"
        f"{_report_interval(request.start, request.duration)}{payloads}"
        f"</ei:reportSpecifier></oadr:oadrReportRequest>"
    )


def _report_interval(start: datetime | None, duration: Duration | None) -> str:
    if start is None:
        if duration is not None:
            raise InvalidError("A reportInterval with a duration needs a dtstart.")
        return ""
    return (
        f"<ei:reportInterval><xcal:properties>{dtstart(start)}"
        f"{lasting('xcal:duration', duration if duration is not None else ZERO)}</xcal:properties></ei:reportInterval>"
    )


def registered_report(message: RegisteredReport) -> str:
    """Write the content of an oadrRegisteredReport."""
    requests = "".join(_request(request) for request in message.requests)
    return f"{response(message.response)}{requests}{optional('ei:venID', message.ven_id)}"


def create_report(message: CreateReport) -> str:
    """Write the content of an oadrCreateReport."""
    if not message.requests:
        raise InvalidError("An oadrCreateReport requests at least one report.")
    return (
        f"{leaf('pyld:requestID', message.request_id)}{''.join(_request(one) for one in message.requests)}"
        f"{optional('ei:venID', message.ven_id)}"
    )


def pending_reports(message: CreatedReport | CanceledReport) -> str:
    """Write the content of an oadrCreatedReport or oadrCanceledReport."""
    return (
        f"{response(message.response)}<oadr:oadrPendingReports>{leaves('ei:reportRequestID', message.pending)}"
        f"</oadr:oadrPendingReports>{optional('ei:venID', message.ven_id)}"
    )


def cancel_report(message: CancelReport) -> str:
    """Write the content of an oadrCancelReport."""
    if not message.report_request_ids:
        raise InvalidError("An oadrCancelReport names at least one report request.")
    return (
        f"{leaf('pyld:requestID', message.request_id)}{leaves('ei:reportRequestID', message.report_request_ids)}"
        f"{leaf('pyld:reportToFollow', flag(message.report_to_follow))}{optional('ei:venID', message.ven_id)}"
    )


def updated_report(message: UpdatedReport) -> str:
    """Write the content of an oadrUpdatedReport."""
    cancel = ""
    if message.cancel is not None:
        cancel = f"<oadr:oadrCancelReport>{cancel_report(message.cancel)}</oadr:oadrCancelReport>"
    return f"{response(message.response)}{cancel}{optional('ei:venID', message.ven_id)}"


def update_report(message: UpdateReport) -> str:
    """Write the content of an oadrUpdateReport."""
    return (
        f"{leaf('pyld:requestID', message.request_id)}{''.join(_report(one) for one in message.reports)}"
        f"{optional('ei:venID', message.ven_id)}"
    )


def _report(report: Report) -> str:
    intervals = "".join(_interval(uid, one) for uid, one in enumerate(report.intervals))
    return (
        f"<oadr:oadrReport>{dtstart(report.start) if report.start is not None else ''}"
        f"{lasting('xcal:duration', report.duration) if report.duration is not None else ''}"
        f"{f'<strm:intervals>{intervals}</strm:intervals>' if intervals else ''}"
        f"{optional('ei:eiReportID', report.report_id)}{leaf('ei:reportRequestID', report.request_id)}"
        f"{leaf('ei:reportSpecifierID', report.specifier_id)}{optional('ei:reportName', report.name)}"
        f"{leaf('ei:createdDateTime', instant(report.created_at))}</oadr:oadrReport>"
    )


def _interval(uid: int, report_interval: ReportInterval) -> str:
    """Write an interval; its uid is needed where it has no start (RP-44)."""
    if not report_interval.payloads:
        raise InvalidError("An interval of a report has at least one payload.")
    begin = dtstart(report_interval.start) if report_interval.start is not None else ""
    lasts = lasting("xcal:duration", report_interval.duration) if report_interval.duration is not None else ""
    place = "" if begin else f"<xcal:uid><xcal:text>{uid}</xcal:text></xcal:uid>"
    return (
        f"<ei:interval>{begin}{lasts}{place}{''.join(_payload(one) for one in report_interval.payloads)}</ei:interval>"
    )


def _payload(report_payload: ReportPayload) -> str:
    confidence = (
        leaf("ei:confidence", whole(report_payload.confidence, _MOST_CONFIDENT))
        if report_payload.confidence is not None
        else ""
    )
    accuracy = leaf("ei:accuracy", number(report_payload.accuracy)) if report_payload.accuracy is not None else ""
    value = (
        _status(report_payload.value)
        if isinstance(report_payload.value, ResourceStatus)
        else f"<ei:payloadFloat><ei:value>{number(report_payload.value)}</ei:value></ei:payloadFloat>"
    )
    return (
        f"<oadr:oadrReportPayload><ei:rID>{escape(report_payload.r_id)}</ei:rID>{confidence}{accuracy}{value}"
        f"{optional('oadr:oadrDataQuality', report_payload.quality)}</oadr:oadrReportPayload>"
    )


def _status(status: ResourceStatus) -> str:
    states = (
        f"{_state('oadr:oadrCapacity', status.capacity)}{_state('oadr:oadrLevelOffset', status.level_offset)}"
        f"{_state('oadr:oadrPercentOffset', status.percent_offset)}{_state('oadr:oadrSetPoint', status.set_point)}"
    )
    return (
        f"<oadr:oadrPayloadResourceStatus>{leaf('oadr:oadrOnline', flag(status.online))}"
        f"{leaf('oadr:oadrManualOverride', flag(status.manual_override))}"
        f"{f'<oadr:oadrLoadControlState>{states}</oadr:oadrLoadControlState>' if states else ''}"
        f"</oadr:oadrPayloadResourceStatus>"
    )


def _state(tag: str, state: LoadControlState | None) -> str:
    if state is None:
        return ""
    return (
        f"<{tag}>{leaf('oadr:oadrMin', number(state.min)) if state.min is not None else ''}"
        f"{leaf('oadr:oadrMax', number(state.max)) if state.max is not None else ''}"
        f"{leaf('oadr:oadrCurrent', number(state.current))}"
        f"{leaf('oadr:oadrNormal', number(state.normal)) if state.normal is not None else ''}</{tag}>"
    )
