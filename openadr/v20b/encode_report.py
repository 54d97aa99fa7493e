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


def register_report(of: RegisterReport) -> str:
    """Write the content of an oadrRegisterReport."""
    return (
        f"{leaf('pyld:requestID', of.request_id)}{''.join(_offer(one) for one in of.offers)}"
        f"{optional('ei:venID', of.ven_id)}{optional('ei:reportRequestID', of.report_request_id)}"
    )


def _offer(of: ReportOffer) -> str:
    """Write a metadata report (RP-04, RP-06). Names of one's own (`x-...`) take no METADATA_ prefix in the XSD."""
    name = of.name if of.name.startswith("x-") or not of.name else f"{METADATA_PREFIX}{of.name}"
    return (
        f"<oadr:oadrReport>{lasting('xcal:duration', of.duration)}"
        f"{''.join(_description(one) for one in of.descriptions)}"
        f"<ei:reportRequestID>{_METADATA_REQUEST_ID}</ei:reportRequestID>"
        f"{leaf('ei:reportSpecifierID', of.specifier_id)}{optional('ei:reportName', name)}"
        f"{leaf('ei:createdDateTime', instant(of.created_at))}</oadr:oadrReport>"
    )


def _description(of: ReportDescription) -> str:
    sampling = ""
    if (rate := of.sampling) is not None:
        sampling = (
            f"<oadr:oadrSamplingRate>{leaf('oadr:oadrMinPeriod', duration_text(rate.min_period))}"
            f"{leaf('oadr:oadrMaxPeriod', duration_text(rate.max_period))}"
            f"{leaf('oadr:oadrOnChange', flag(rate.on_change))}</oadr:oadrSamplingRate>"
        )
    return (
        f"<oadr:oadrReportDescription>{leaf('ei:rID', of.r_id)}{optional_target('ei:reportSubject', of.subject)}"
        f"{optional_target('ei:reportDataSource', of.source)}{leaf('ei:reportType', of.report_type)}"
        f"{item_base(of.item_base)}{leaf('ei:readingType', of.reading_type)}"
        f"{optional('emix:marketContext', of.market_context)}{sampling}</oadr:oadrReportDescription>"
    )


def _request(of: ReportRequest) -> str:
    r_ids = of.r_ids or ((NO_R_ID,) if of.is_metadata else ())
    if not r_ids:
        raise InvalidError(f"Report request {of.request_id} names no rID.")
    reading_types = of.reading_types or (NOT_APPLICABLE,) * len(r_ids)
    if len(reading_types) != len(r_ids):
        raise InvalidError(f"Report request {of.request_id} has {len(reading_types)} reading types, {len(r_ids)} rIDs.")
    payloads = "".join(
        f"<ei:specifierPayload>{leaf('ei:rID', r_id)}{leaf('ei:readingType', reading)}</ei:specifierPayload>"
        for r_id, reading in zip(r_ids, reading_types, strict=True)
    )
    return (
        f"<oadr:oadrReportRequest>{leaf('ei:reportRequestID', of.request_id)}<ei:reportSpecifier>"
        f"{leaf('ei:reportSpecifierID', of.specifier_id)}{lasting('xcal:granularity', of.granularity)}"
        f"{lasting('ei:reportBackDuration', of.report_back)}{_report_interval(of.start, of.duration)}{payloads}"
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


def registered_report(of: RegisteredReport) -> str:
    """Write the content of an oadrRegisteredReport."""
    return f"{response(of.response)}{''.join(_request(one) for one in of.requests)}{optional('ei:venID', of.ven_id)}"


def create_report(of: CreateReport) -> str:
    """Write the content of an oadrCreateReport."""
    if not of.requests:
        raise InvalidError("An oadrCreateReport requests at least one report.")
    return (
        f"{leaf('pyld:requestID', of.request_id)}{''.join(_request(one) for one in of.requests)}"
        f"{optional('ei:venID', of.ven_id)}"
    )


def pending_reports(of: CreatedReport | CanceledReport) -> str:
    """Write the content of an oadrCreatedReport or oadrCanceledReport."""
    return (
        f"{response(of.response)}<oadr:oadrPendingReports>{leaves('ei:reportRequestID', of.pending)}"
        f"</oadr:oadrPendingReports>{optional('ei:venID', of.ven_id)}"
    )


def cancel_report(of: CancelReport) -> str:
    """Write the content of an oadrCancelReport."""
    if not of.report_request_ids:
        raise InvalidError("An oadrCancelReport names at least one report request.")
    return (
        f"{leaf('pyld:requestID', of.request_id)}{leaves('ei:reportRequestID', of.report_request_ids)}"
        f"{leaf('pyld:reportToFollow', flag(of.report_to_follow))}{optional('ei:venID', of.ven_id)}"
    )


def updated_report(of: UpdatedReport) -> str:
    """Write the content of an oadrUpdatedReport."""
    cancel = ""
    if of.cancel is not None:
        cancel = f"<oadr:oadrCancelReport>{cancel_report(of.cancel)}</oadr:oadrCancelReport>"
    return f"{response(of.response)}{cancel}{optional('ei:venID', of.ven_id)}"


def update_report(of: UpdateReport) -> str:
    """Write the content of an oadrUpdateReport."""
    return (
        f"{leaf('pyld:requestID', of.request_id)}{''.join(_report(one) for one in of.reports)}"
        f"{optional('ei:venID', of.ven_id)}"
    )


def _report(of: Report) -> str:
    intervals = "".join(_interval(uid, one) for uid, one in enumerate(of.intervals))
    return (
        f"<oadr:oadrReport>{dtstart(of.start) if of.start is not None else ''}"
        f"{lasting('xcal:duration', of.duration) if of.duration is not None else ''}"
        f"{f'<strm:intervals>{intervals}</strm:intervals>' if intervals else ''}"
        f"{optional('ei:eiReportID', of.report_id)}{leaf('ei:reportRequestID', of.request_id)}"
        f"{leaf('ei:reportSpecifierID', of.specifier_id)}{optional('ei:reportName', of.name)}"
        f"{leaf('ei:createdDateTime', instant(of.created_at))}</oadr:oadrReport>"
    )


def _interval(uid: int, of: ReportInterval) -> str:
    """Write an interval; its uid is needed where it has no start (RP-44)."""
    if not of.payloads:
        raise InvalidError("An interval of a report has at least one payload.")
    begin = dtstart(of.start) if of.start is not None else ""
    lasts = lasting("xcal:duration", of.duration) if of.duration is not None else ""
    place = "" if begin else f"<xcal:uid><xcal:text>{uid}</xcal:text></xcal:uid>"
    return f"<ei:interval>{begin}{lasts}{place}{''.join(_payload(one) for one in of.payloads)}</ei:interval>"


def _payload(of: ReportPayload) -> str:
    confidence = leaf("ei:confidence", whole(of.confidence, _MOST_CONFIDENT)) if of.confidence is not None else ""
    accuracy = leaf("ei:accuracy", number(of.accuracy)) if of.accuracy is not None else ""
    value = (
        _status(of.value)
        if isinstance(of.value, ResourceStatus)
        else f"<ei:payloadFloat><ei:value>{number(of.value)}</ei:value></ei:payloadFloat>"
    )
    return (
        f"<oadr:oadrReportPayload><ei:rID>{escape(of.r_id)}</ei:rID>{confidence}{accuracy}{value}"
        f"{optional('oadr:oadrDataQuality', of.quality)}</oadr:oadrReportPayload>"
    )


def _status(of: ResourceStatus) -> str:
    states = (
        f"{_state('oadr:oadrCapacity', of.capacity)}{_state('oadr:oadrLevelOffset', of.level_offset)}"
        f"{_state('oadr:oadrPercentOffset', of.percent_offset)}{_state('oadr:oadrSetPoint', of.set_point)}"
    )
    return (
        f"<oadr:oadrPayloadResourceStatus>{leaf('oadr:oadrOnline', flag(of.online))}"
        f"{leaf('oadr:oadrManualOverride', flag(of.manual_override))}"
        f"{f'<oadr:oadrLoadControlState>{states}</oadr:oadrLoadControlState>' if states else ''}"
        f"</oadr:oadrPayloadResourceStatus>"
    )


def _state(tag: str, of: LoadControlState | None) -> str:
    if of is None:
        return ""
    return (
        f"<{tag}>{leaf('oadr:oadrMin', number(of.min)) if of.min is not None else ''}"
        f"{leaf('oadr:oadrMax', number(of.max)) if of.max is not None else ''}"
        f"{leaf('oadr:oadrCurrent', number(of.current))}"
        f"{leaf('oadr:oadrNormal', number(of.normal)) if of.normal is not None else ''}</{tag}>"
    )
