"""Hypothesis strategies for every message of 2.0b and the values in them: all of them valid, many of them odd."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import settings
from hypothesis import strategies as st

from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.registration import Profile, Transport, VenProfile, VtnProfile
from openadr.model.report import (
    BAD,
    ESTIMATED,
    GOOD,
    METADATA,
    NO_NEW_VALUE,
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
from openadr.model.target import EVERYTHING, Target
from openadr.model.units import SCALES, ItemBase, PowerAttributes
from openadr.v20b import messages as m

calm = settings(max_examples=60)
"""No deadline: machines differ."""

# Every character that XML can carry, control characters that need escaping included.
_characters = st.one_of(
    st.sampled_from("&<>\"'\r\n\t]é\u0085\u2028\U0001f50c 0"),
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff", max_codepoint=0x10FFFF),
)
texts = st.text(_characters, max_size=12)
filled = st.text(_characters, min_size=1, max_size=12)
ids = st.one_of(st.sampled_from(["000123", "true", "10.0.0.1", "ven-1", "1e5", "  spaced  "]), texts)
filled_ids = ids.filter(bool)
maybe_ids = st.none() | filled_ids

zones = st.sampled_from([UTC, timezone(timedelta(hours=2)), timezone(-timedelta(hours=9, minutes=30))])
_first, _last = datetime(2, 1, 1), datetime(9998, 12, 30)  # noqa: DTZ001  hypothesis wants bounds without zone
times = st.datetimes(min_value=_first, max_value=_last, timezones=zones)
_months = st.integers(0, 5000)
_seconds = st.integers(0, 10**9)
lengths = st.one_of(
    st.sampled_from([Duration(), Duration.of(minutes=15), Duration.of(days=1, seconds=1), Duration(13)]),
    st.builds(Duration, _months, _seconds),
)
signed = st.one_of(lengths, lengths.map(lambda length: -length))
numbers = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(10**6), 10**6).map(float),
    st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf")]),
)
own_names = st.from_regex(r"x-[A-Za-z0-9_.<&-]{1,12}", fullmatch=True)
contexts = st.sampled_from(
    ["http://programme.example/a?b=1&c=<2>", "urn:a:b", "a b", "", "https://é.example/x%20y", "MarketContext1"]
)
maybe_contexts = st.none() | contexts.filter(bool)
codes = st.integers(0, 999)
modification_numbers = st.integers(0, 2**32 - 1)

responses = st.builds(m.Response, codes, st.none() | filled, ids)

_scales = st.sampled_from(sorted(SCALES))
_decimals = st.integers(-(10**9), 10**9).map(lambda n: n / 1000)
_attributes = st.builds(PowerAttributes, _decimals, _decimals, st.booleans())
_fixed = {
    "voltage": ("Voltage", "V"),
    "energyApparent": ("ApparentEnergy", "VAh"),
    "energyReactive": ("ReactiveEnergy", "VARh"),
    "energyReal": ("RealEnergy", "Wh"),
    "current": ("Current", "A"),
    "frequency": ("Frequency", "Hz"),
    "Therm": ("Therm", "thm"),
}
_powers = {
    "powerReal": ("RealPower", "W"),
    "powerApparent": ("ApparentPower", "VA"),
    "powerReactive": ("ReactivePower", "VAR"),
}
_currencies = ("currency", "currencyPerKWh", "currencyPerKW", "currencyPerThm")
# customUnit's texts are read as tokens, so they hold no outer or double blanks here.
_tokens = st.from_regex(r"[A-Za-z&<>/]{1,8}", fullmatch=True)
item_bases = st.one_of(
    st.builds(lambda name, scale: ItemBase(name, *_fixed[name], scale), st.sampled_from(sorted(_fixed)), _scales),
    st.builds(
        lambda name, scale, power: ItemBase(name, *_powers[name], scale, power),
        st.sampled_from(sorted(_powers)),
        _scales,
        _attributes,
    ),
    st.builds(lambda scale, power: ItemBase("powerReal", "RealPower", "J/s", scale, power), _scales, _attributes),
    st.builds(
        ItemBase,
        st.sampled_from(_currencies),
        st.sampled_from(_currencies[:3]),
        st.sampled_from(["EUR", "GBP", "USD"]),
        _scales,
    ),
    st.builds(
        lambda units, scale: ItemBase("temperature", "temperature", units, scale),
        st.sampled_from(["celsius", "fahrenheit"]),
        _scales,
    ),
    st.builds(lambda factor: ItemBase("pulseCount", "pulse count", "count", pulse_factor=factor), numbers),
    st.builds(
        lambda description, units, scale: ItemBase("customUnit", description, units, scale), _tokens, _tokens, _scales
    ),
)
maybe_item_bases = st.none() | item_bases

_some_ids = st.lists(filled_ids, max_size=3).map(tuple)
_lines = st.text(_characters.filter(lambda c: c != "\n"), min_size=1, max_size=6)
_grid_order = (
    "aggregatedPnode",
    "meterAsset",
    "pnode",
    "serviceArea",
    "serviceDeliveryPoint",
    "serviceLocation",
    "transportInterface",
)
_criteria = st.one_of(
    st.tuples(st.sampled_from(["aggregatedPnode", "meterAsset", "pnode", "serviceDeliveryPoint"]), filled_ids),
    st.tuples(st.sampled_from(["serviceArea", "serviceLocation"]), st.sampled_from(["1.0 2.5 -3.0", "0.0"])),
    st.tuples(st.just("transportInterface"), st.tuples(_lines, _lines).map("\n".join)),
)
_grids = st.lists(_criteria, max_size=3).map(
    lambda found: tuple(sorted(found, key=lambda one: _grid_order.index(one[0])))
)
targets = st.just(EVERYTHING) | st.builds(
    Target, _some_ids, _some_ids, _some_ids, _some_ids, _some_ids, _some_ids, _grids
)
device_classes = st.lists(st.sampled_from(["Thermostat", "Water_Heater", "x-own"]), max_size=2).map(
    lambda names: Target(device_classes=tuple(names))
)

# -- EiEvent

intervals = st.lists(st.builds(Interval, lengths, numbers), min_size=1, max_size=4).map(tuple)
signals = st.builds(
    Signal,
    st.sampled_from(["SIMPLE", "ELECTRICITY_PRICE", "LOAD_DISPATCH", "LOAD_CONTROL", "BID_LOAD"]) | own_names,
    st.sampled_from(["level", "price", "delta", "setpoint", "x-loadControlCapacity"]),
    ids,
    intervals,
    maybe_item_bases,
    device_classes,
    st.none() | numbers,
)
baselines = st.builds(Baseline, times, lengths, intervals, ids, ids, _some_ids, maybe_item_bases)
periods = st.builds(ActivePeriod, times, lengths, signed, st.none() | lengths, st.none() | signed, st.none() | signed)


@st.composite
def delivered_events(draw):
    status = draw(st.sampled_from(EventStatus))
    event = Event(
        event_id=draw(ids),
        modification_number=draw(modification_numbers),
        market_context=draw(contexts),
        created_at=draw(times),
        period=draw(periods),
        signals=tuple(draw(st.lists(signals, min_size=1, max_size=2))),
        target=draw(targets),
        response_required=draw(st.sampled_from(ResponseRequired)),
        priority=draw(st.none() | modification_numbers),
        test_event=draw(st.none() | filled),
        vtn_comment=draw(st.none() | filled),
        modification_reason=draw(st.none() | filled),
        modified_at=draw(st.none() | times),
        baseline=draw(st.none() | baselines),
        cancelled=status is EventStatus.CANCELLED,
    )
    return DeliveredEvent(event, status)


event_responses = st.builds(
    m.EventResponse, ids, modification_numbers, st.sampled_from(OptType), ids, codes, st.none() | filled
)

# -- EiOpt


@st.composite
def opts(draw):
    qualified = draw(st.booleans())
    return Opt(
        opt_id=draw(ids),
        opt_type=draw(st.sampled_from(OptType)),
        reason=draw(st.sampled_from(["economic", "x-schedule", "overrideStatus"]) | own_names),
        created_at=draw(times),
        event_id=draw(ids) if qualified else None,
        modification_number=draw(modification_numbers) if qualified else None,
        availability=tuple(draw(st.lists(st.builds(Availability, times, lengths), max_size=3))),
        market_context=draw(maybe_contexts),
        target=draw(targets),
        device_class=draw(device_classes),
    )


# -- EiReport

reading_types = st.sampled_from(["Direct Read", "Net", "Mean", "x-notApplicable"]) | own_names
descriptions = st.builds(
    ReportDescription,
    ids,
    st.sampled_from(["usage", "baseline", "x-resourceStatus"]) | own_names,
    reading_types,
    targets,
    device_classes,
    maybe_item_bases,
    maybe_contexts,
    st.none() | st.builds(SamplingRate, lengths, lengths, st.booleans()),
)
report_names = (
    st.sampled_from(["", "TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE", "HISTORY_GREENBUTTON"]) | own_names
)
offers = st.builds(ReportOffer, ids, report_names, lengths, st.lists(descriptions, max_size=2).map(tuple), times)


@st.composite
def report_requests(draw):
    r_ids = tuple(draw(st.lists(ids, min_size=1, max_size=3)))
    types = tuple(draw(reading_types) for _ in r_ids)
    start = draw(st.none() | times)
    return ReportRequest(
        request_id=draw(ids),
        specifier_id=draw(ids.filter(lambda text: text != METADATA)),
        r_ids=r_ids,
        granularity=draw(lengths),
        report_back=draw(lengths),
        start=start,
        duration=draw(lengths) if start is not None else None,
        reading_types=types if set(types) != {"x-notApplicable"} and draw(st.booleans()) else (),
    )


metadata_requests = st.builds(ReportRequest, ids, st.just(METADATA), st.just(()), lengths, lengths)
requests = report_requests() | metadata_requests

_maybe_numbers = st.none() | numbers
_states = st.none() | st.builds(LoadControlState, numbers, _maybe_numbers, _maybe_numbers, _maybe_numbers)
statuses = st.builds(ResourceStatus, st.booleans(), st.booleans(), _states, _states, _states, _states)
payloads = st.builds(
    ReportPayload,
    ids,
    numbers | statuses,
    st.sampled_from([None, GOOD, BAD, ESTIMATED, NO_NEW_VALUE, "x-own"]),
    st.none() | st.integers(0, 100),
    _maybe_numbers,
)
report_intervals = st.builds(
    ReportInterval, st.lists(payloads, min_size=1, max_size=3).map(tuple), st.none() | times, st.none() | lengths
)
reports = st.builds(
    Report,
    ids,
    ids,
    report_names,
    times,
    st.lists(report_intervals, max_size=4).map(tuple),
    st.none() | times,
    st.none() | lengths,
    maybe_ids,
)
cancel_reports = st.builds(
    m.CancelReport, ids, st.lists(ids, min_size=1, max_size=3).map(tuple), st.booleans(), maybe_ids
)
_pending = st.lists(ids, max_size=3).map(tuple)
_requests = st.lists(requests, max_size=2).map(tuple)

# -- EiRegisterParty

ven_profiles = st.builds(
    VenProfile,
    st.sampled_from(Profile),
    st.sampled_from(Transport),
    maybe_ids,
    st.booleans(),
    st.booleans(),
    maybe_ids,
    st.sampled_from([None, True, False]),
)
_transports = st.lists(st.sampled_from(Transport), min_size=1, max_size=2).map(tuple)
vtn_profiles = st.builds(
    VtnProfile,
    ids,
    st.lists(st.tuples(st.sampled_from(Profile), _transports), min_size=1, max_size=2).map(tuple),
    st.none() | lengths,
)

MESSAGES = {
    m.DistributeEvent: st.builds(
        m.DistributeEvent,
        ids,
        ids,
        st.lists(delivered_events(), max_size=2).map(tuple),
        st.none() | responses,
    ),
    m.CreatedEvent: st.builds(m.CreatedEvent, ids, responses, st.lists(event_responses, max_size=3).map(tuple)),
    m.RequestEvent: st.builds(m.RequestEvent, ids, ids, st.none() | modification_numbers),
    m.OadrResponse: st.builds(m.OadrResponse, responses, maybe_ids),
    m.CreateOpt: st.builds(m.CreateOpt, ids, ids, opts()),
    m.CreatedOpt: st.builds(m.CreatedOpt, responses, ids),
    m.CancelOpt: st.builds(m.CancelOpt, ids, ids, ids),
    m.CanceledOpt: st.builds(m.CanceledOpt, responses, maybe_ids),
    m.RegisterReport: st.builds(m.RegisterReport, ids, st.lists(offers, max_size=2).map(tuple), maybe_ids, maybe_ids),
    m.RegisteredReport: st.builds(m.RegisteredReport, responses, _requests, maybe_ids),
    m.CreateReport: st.builds(m.CreateReport, ids, st.lists(requests, min_size=1, max_size=2).map(tuple), maybe_ids),
    m.CreatedReport: st.builds(m.CreatedReport, responses, _pending, maybe_ids),
    m.UpdateReport: st.builds(m.UpdateReport, ids, st.lists(reports, max_size=2).map(tuple), maybe_ids),
    m.UpdatedReport: st.builds(m.UpdatedReport, responses, st.none() | cancel_reports, maybe_ids),
    m.CancelReport: cancel_reports,
    m.CanceledReport: st.builds(m.CanceledReport, responses, _pending, maybe_ids),
    m.QueryRegistration: st.builds(m.QueryRegistration, ids),
    m.CreatePartyRegistration: st.builds(m.CreatePartyRegistration, ids, ven_profiles, maybe_ids, maybe_ids),
    m.CreatedPartyRegistration: st.builds(m.CreatedPartyRegistration, responses, vtn_profiles, maybe_ids, maybe_ids),
    m.CancelPartyRegistration: st.builds(m.CancelPartyRegistration, ids, ids, maybe_ids),
    m.CanceledPartyRegistration: st.builds(m.CanceledPartyRegistration, responses, maybe_ids, maybe_ids),
    m.RequestReregistration: st.builds(m.RequestReregistration, ids),
    m.Poll: st.builds(m.Poll, ids),
}
"""One strategy a kind of message; all 23."""

messages = st.one_of(*MESSAGES.values())
