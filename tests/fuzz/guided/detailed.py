"""Messages with all that OpenADR lets them have, written by our own encoder: parts for the mutator to take."""

from fuzz.gateway_world import NOON, RESOURCES

from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.report import (
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
from openadr.model.signal import Baseline, Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from openadr.v20b import messages as m
from openadr.v20b.encode import encode

_HOUR = Duration.of(hours=1)
_MINUTE = Duration.of(minutes=1)
_ALL_TARGETS = Target(("ven-1",), ("heater",), ("group",), ("name",), ("party",), ("Thermostat",))
_RATE = SamplingRate(_MINUTE, _HOUR, on_change=True)


def of_a_vtn() -> dict[str, bytes]:
    """Return events and report requests for the gateway under test."""
    heater = RESOURCES[0].resource
    event = Event(
        "e3",
        2,
        "http://example.com/dr",
        NOON,
        ActivePeriod(NOON, _HOUR, _HOUR, _MINUTE, _MINUTE, _MINUTE),
        (
            Signal("SIMPLE", "level", "s1", (Interval(_MINUTE, 1.0), Interval(_HOUR, 3.0)), None, _ALL_TARGETS, 1.0),
            Signal("LOAD_DISPATCH", "setpoint", "s2", (Interval(_HOUR, 1000.0),), POWER_REAL_W, current_value=1000.0),
        ),
        Target(("ven-1",), (heater,)),
        ResponseRequired.NEVER,
        5,
        "no",
        "a comment",
        "a reason",
        NOON,
        Baseline(NOON, _HOUR, (Interval(_HOUR, 3000.0),), "b", "baseline", (heater,), POWER_REAL_W),
    )
    delivered = DeliveredEvent(event, EventStatus.ACTIVE)
    requests = (
        ReportRequest("r1", "TELEMETRY_STATUS", (f"{heater}/status",), _MINUTE, _MINUTE, NOON, _HOUR, ("Direct Read",)),
        ReportRequest("r2", "METADATA", ("0",)),
    )
    return {
        "detailed-distribute": encode(m.DistributeEvent("vtn", "d", (delivered,), m.Response())),
        "detailed-create-report": encode(m.CreateReport("c", requests, "ven-1")),
    }


def of_a_ven(ven_id: str, request_id: str) -> dict[str, bytes]:
    """Return offers of reports and a status for the VTN under test."""
    lines = (
        ReportDescription(
            "meter", "usage", "Direct Read", Target(resource_ids=("meter",)), _ALL_TARGETS, ENERGY_REAL_WH, None, _RATE
        ),
        ReportDescription(
            "state", "x-resourceStatus", "x-notApplicable", Target(resource_ids=("car",)), sampling=_RATE
        ),
    )
    offers = (
        ReportOffer("usage", "TELEMETRY_USAGE", _HOUR, lines[:1], NOON),
        ReportOffer("status", "TELEMETRY_STATUS", _HOUR, lines[1:], NOON),
    )
    part = LoadControlState(1.0, 0.0, 2.0, 1.5)
    status = ResourceStatus(online=True, manual_override=False, capacity=part, level_offset=part)
    rows = (
        ReportInterval((ReportPayload("meter", 1.5, "Quality Good - Non Specific", 95, 0.5),), NOON, _MINUTE),
        ReportInterval((ReportPayload("state", status),), NOON, _MINUTE),
    )
    report = Report(request_id, "usage", "TELEMETRY_USAGE", NOON, rows, NOON, _HOUR, "report")
    return {
        "detailed-register-report": encode(m.RegisterReport("m", offers, ven_id)),
        "detailed-update-report": encode(m.UpdateReport("u", (report,), ven_id)),
    }
