"""Decoding of EiReport messages. oadrUpdateReport is the hot path of telemetry: one pass, no searches."""

from collections.abc import Mapping
from itertools import islice, repeat
from typing import Final

from lxml.etree import _Element

from openadr.model.report import (
    METADATA,
    LoadControlState,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    ResourceStatus,
    SamplingRate,
)
from openadr.v20b import names as n
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.decode_parts import Reader, item_base, response, target
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
from openadr.v20b.reading import (
    duration,
    duration_or_zero,
    flag,
    inner_duration,
    instant,
    number,
    optional,
    optional_token,
    parts,
    string,
    token,
    whole,
)

_RARE: Final = (n.UID, n.CONFIDENCE, n.ACCURACY, n.RESOURCE_STATUS, n.GREEN_BUTTON, n.SIGNAL_PAYLOAD)
_START_AND_DURATION: Final = 2


def _register_report(element: _Element) -> RegisterReport:
    of = parts(element)
    return RegisterReport(
        request_id=string(of[n.REQUEST_ID]),
        offers=tuple(_offer(child) for child in element.iterchildren(n.REPORT)),
        ven_id=optional(of.get(n.VEN_ID)),
        report_request_id=optional(of.get(n.REPORT_REQUEST_ID)),
    )


def _offer(element: _Element) -> ReportOffer:
    of = parts(element)
    return ReportOffer(
        specifier_id=string(of[n.REPORT_SPECIFIER_ID]),
        name=_report_name(of),
        duration=duration_or_zero(of.get(n.DURATION)),
        descriptions=tuple(_description(child) for child in element.iterchildren(n.REPORT_DESCRIPTION)),
        created_at=instant(of[n.CREATED_DATE_TIME]),
    )


def _report_name(parts: dict[str, _Element]) -> str:
    return (optional_token(parts.get(n.REPORT_NAME)) or "").removeprefix(n.METADATA_PREFIX)


def _description(element: _Element) -> ReportDescription:
    of = parts(element)
    rate = of.get(n.SAMPLING_RATE)
    return ReportDescription(
        r_id=string(of[n.R_ID]),
        report_type=token(of[n.REPORT_TYPE]),
        reading_type=token(of[n.READING_TYPE]),
        source=target(of.get(n.REPORT_DATA_SOURCE)),
        subject=target(of.get(n.REPORT_SUBJECT)),
        item_base=item_base(of),
        market_context=optional_token(of.get(n.MARKET_CONTEXT)),
        sampling=_sampling(rate) if rate is not None else None,
    )


def _sampling(element: _Element) -> SamplingRate:
    shortest, longest, on_change = element
    return SamplingRate(duration(shortest), duration(longest), flag(on_change))


def _requests(element: _Element) -> tuple[ReportRequest, ...]:
    return tuple(_request(*child) for child in element.iterchildren(n.REPORT_REQUEST))


def _request(request_id: _Element, specifier: _Element) -> ReportRequest:
    of = parts(specifier)
    specifier_id = string(of[n.REPORT_SPECIFIER_ID])
    asked = [parts(child) for child in specifier.iterchildren(n.SPECIFIER_PAYLOAD)]
    r_ids = tuple(string(one[n.R_ID]) for one in asked)
    reading_types = tuple(token(one[n.READING_TYPE]) for one in asked)
    span = parts(of[n.REPORT_INTERVAL][0]) if n.REPORT_INTERVAL in of else None
    return ReportRequest(
        request_id=string(request_id),
        specifier_id=specifier_id,
        r_ids=() if specifier_id == METADATA and r_ids == (n.NO_R_ID,) else r_ids,
        granularity=duration_or_zero(of[n.GRANULARITY]),
        report_back=duration_or_zero(of[n.REPORT_BACK_DURATION]),
        start=instant(span[n.DTSTART][0]) if span else None,
        duration=inner_duration(span[n.DURATION]) if span else None,
        reading_types=reading_types if any(one != n.NOT_APPLICABLE for one in reading_types) else (),
    )


def _registered_report(element: _Element) -> RegisteredReport:
    of = parts(element)
    return RegisteredReport(response(of[n.EI_RESPONSE]), _requests(element), optional(of.get(n.VEN_ID)))


def _create_report(element: _Element) -> CreateReport:
    of = parts(element)
    return CreateReport(string(of[n.REQUEST_ID]), _requests(element), optional(of.get(n.VEN_ID)))


def _created_report(element: _Element) -> CreatedReport:
    of = parts(element)
    return CreatedReport(response(of[n.EI_RESPONSE]), _texts(of[n.PENDING_REPORTS]), optional(of.get(n.VEN_ID)))


def _canceled_report(element: _Element) -> CanceledReport:
    of = parts(element)
    return CanceledReport(response(of[n.EI_RESPONSE]), _texts(of[n.PENDING_REPORTS]), optional(of.get(n.VEN_ID)))


def _texts(element: _Element) -> tuple[str, ...]:
    return tuple(string(child) for child in element.iterchildren(n.REPORT_REQUEST_ID))


def _cancel_report(element: _Element) -> CancelReport:
    of = parts(element)
    return CancelReport(
        request_id=string(of[n.REQUEST_ID]),
        report_request_ids=_texts(element),
        report_to_follow=flag(of[n.REPORT_TO_FOLLOW]),
        ven_id=optional(of.get(n.VEN_ID)),
    )


def _updated_report(element: _Element) -> UpdatedReport:
    of = parts(element)
    cancel = of.get(n.CANCEL_REPORT)
    return UpdatedReport(
        response=response(of[n.EI_RESPONSE]),
        cancel=_cancel_report(cancel) if cancel is not None else None,
        ven_id=optional(of.get(n.VEN_ID)),
    )


def _update_report(element: _Element) -> UpdateReport:
    of = parts(element)
    return UpdateReport(
        request_id=string(of[n.REQUEST_ID]),
        reports=tuple(_report(child) for child in element.iterchildren(n.REPORT)),
        ven_id=optional(of.get(n.VEN_ID)),
    )


def _report(element: _Element) -> Report:
    of = parts(element)
    return Report(
        request_id=string(of[n.REPORT_REQUEST_ID]),
        specifier_id=string(of[n.REPORT_SPECIFIER_ID]),
        name=_report_name(of),
        created_at=instant(of[n.CREATED_DATE_TIME]),
        intervals=_intervals(of[n.INTERVALS]) if n.INTERVALS in of else (),
        start=instant(of[n.DTSTART][0]) if n.DTSTART in of else None,
        duration=inner_duration(of.get(n.DURATION)),
        report_id=optional(of.get(n.REPORT_ID)),
    )


def _intervals(element: _Element) -> tuple[ReportInterval, ...]:
    return _plain_intervals(element) or tuple(_interval(child) for child in element)


def _plain_intervals(element: _Element) -> tuple[ReportInterval, ...] | None:
    """Read intervals that all have a start, a duration and nothing but numbers, or return None: the faster way.

    It goes by the leaves of each kind. Their counts tell that they fit: the XSD allows an interval at most one start
    and one duration before its payloads, and a payload exactly one rID, one value and at most one quality.
    """
    if next(element.iter(*_RARE), None) is not None:
        return None
    starts = list(element.iter(n.DATE_TIME))
    lasting = list(element.iter(n.DURATION))[1::2]  # each lies in an element of the same name
    r_ids, values = list(element.iter(n.R_ID)), list(element.iter(n.VALUE))
    qualities = [token(one) for one in element.iter(n.DATA_QUALITY)]
    payloads = [len(interval) - _START_AND_DURATION for interval in element]
    if not len(payloads) == len(starts) == len(lasting) or not sum(payloads) == len(r_ids) == len(values):
        return None
    if len(qualities) not in (0, len(values)):
        return None
    read = map(ReportPayload, map(string, r_ids), map(number, values), qualities or repeat(None))
    return tuple(
        ReportInterval(tuple(islice(read, count)), instant(start), duration(length))
        for count, start, length in zip(payloads, starts, lasting, strict=True)
    )


def _interval(element: _Element) -> ReportInterval:
    payloads = []
    start = lasts = None
    for child in element:
        tag = child.tag
        if tag == n.REPORT_PAYLOAD:
            payloads.append(_payload(child))
        elif tag == n.DTSTART:
            start = instant(child[0])
        elif tag == n.DURATION:
            lasts = duration(child[0])
        elif tag == n.GREEN_BUTTON:
            raise OpenADRError(Code.REPORT_NOT_SUPPORTED, "Green Button data (oadrGBPayload) is not read here.")
    return ReportInterval(tuple(payloads), start, lasts)


def _payload(element: _Element) -> ReportPayload:
    r_id = ""
    value: float | ResourceStatus = 0.0
    quality = confidence = accuracy = None
    for child in element:
        tag = child.tag
        if tag == n.PAYLOAD_FLOAT:
            value = number(child[0])
        elif tag == n.R_ID:
            r_id = string(child)
        elif tag == n.DATA_QUALITY:
            quality = token(child)
        elif tag == n.RESOURCE_STATUS:
            value = _status(child)
        elif tag == n.CONFIDENCE:
            confidence = whole(child)
        elif tag == n.ACCURACY:
            accuracy = number(child)
    return ReportPayload(r_id, value, quality, confidence, accuracy)


def _status(element: _Element) -> ResourceStatus:
    online, override, *state = element
    of = parts(state[0]) if state else {}
    return ResourceStatus(
        online=flag(online),
        manual_override=flag(override),
        capacity=_state(of.get(n.CAPACITY)),
        level_offset=_state(of.get(n.LEVEL_OFFSET)),
        percent_offset=_state(of.get(n.PERCENT_OFFSET)),
        set_point=_state(of.get(n.SET_POINT)),
    )


def _state(element: _Element | None) -> LoadControlState | None:
    if element is None:
        return None
    of = {tag: number(child) for tag, child in parts(element).items()}
    return LoadControlState(of[n.STATE_CURRENT], of.get(n.STATE_MIN), of.get(n.STATE_MAX), of.get(n.STATE_NORMAL))


READERS: Final[Mapping[str, Reader]] = {
    n.clark("oadr:oadrRegisterReport"): _register_report,
    n.clark("oadr:oadrRegisteredReport"): _registered_report,
    n.clark("oadr:oadrCreateReport"): _create_report,
    n.clark("oadr:oadrCreatedReport"): _created_report,
    n.clark("oadr:oadrUpdateReport"): _update_report,
    n.clark("oadr:oadrUpdatedReport"): _updated_report,
    n.CANCEL_REPORT: _cancel_report,
    n.clark("oadr:oadrCanceledReport"): _canceled_report,
}
