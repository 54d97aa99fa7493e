"""Rules on signals, targets, units, opts and reports."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import ZERO, Duration
from openadr.model.opt import Availability, OptFact, OptSource, OptType, effective_opt
from openadr.model.report import (
    METADATA,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
    SamplingRate,
    check_offers,
    check_request,
    with_starts,
)
from openadr.model.signal import SIGNAL_TABLE, Interval, Signal, check_signal
from openadr.model.target import DEVICE_CLASSES, EVERYTHING, Target, check_device_classes, check_only_device_classes
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase, currency_per_kwh
from openadr.v20b.codes import Code, fault_of

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR = Duration.of(hours=1)
DAY = Duration.of(days=1)
MINUTE = Duration.of(minutes=1)


def signal(name, kind, unit, *values):
    return Signal(name, kind, "s", tuple(Interval(HOUR, value) for value in values), unit)


@pytest.mark.parametrize(("name", "kind"), sorted(SIGNAL_TABLE))
def test_every_row_of_the_signal_table_takes_its_units_only(name, kind):
    units, _, _ = SIGNAL_TABLE[name, kind]
    for unit in sorted(units):
        check_signal(signal(name, kind, ItemBase(unit, "", ""), 1.0))
    with pytest.raises(InvalidError):
        check_signal(signal(name, kind, ItemBase("voltage", "Voltage", "V"), 1.0))
    if units:
        with pytest.raises(InvalidError):
            check_signal(signal(name, kind, None, 1.0))
    else:
        check_signal(signal(name, kind, None, 1.0))


@pytest.mark.parametrize(
    ("name", "kind", "unit", "value"),
    [
        ("SIMPLE", "level", None, 4.0),
        ("SIMPLE", "level", None, -1.0),
        ("SIMPLE", "level", None, 1.5),
        ("CHARGE_STATE", "multiplier", None, 1.1),
        ("LOAD_CONTROL", "x-loadControlCapacity", None, -0.1),
        ("LOAD_CONTROL", "x-loadControlLevelOffset", None, 0.5),
        ("LOAD_DISPATCH", "level", POWER_REAL_W, 11.0),
        ("SIMPLE", "price", None, 1.0),
        ("NEW_SIGNAL", "level", None, 1.0),
    ],
)
def test_values_and_combinations_outside_the_table(name, kind, unit, value):
    with pytest.raises(InvalidError):
        check_signal(signal(name, kind, unit, value))


def test_own_signals_and_lower_case_pass():
    check_signal(signal("x-own", "level", None, 99.0))
    check_signal(signal("simple", "level", None, 3.0))
    with pytest.raises(InvalidError):
        check_signal(signal("x-own", "level", None))


@given(st.sampled_from(sorted(DEVICE_CLASSES)))
def test_device_classes(name):
    target = Target(device_classes=(name, "x-mine"))
    check_only_device_classes(target)
    for wrong in (
        replace(target, resource_ids=("r",)),
        Target(device_classes=("x-",)),
        Target(device_classes=("sauna",)),
    ):
        with pytest.raises(InvalidError):
            check_only_device_classes(wrong)
    check_device_classes(replace(target, resource_ids=("r",)))


def test_a_target_is_true_if_it_names_anything():
    assert not EVERYTHING
    for field in ("ven_ids", "resource_ids", "group_ids", "group_names", "party_ids", "device_classes"):
        assert Target(**{field: ("x",)})
    assert Target(other=(("pnode", "x"),))


def test_units():
    assert replace(POWER_REAL_W, scale="k").factor == 1000
    assert ENERGY_REAL_WH.factor == 1
    assert currency_per_kwh("EUR").units == "EUR"
    with pytest.raises(InvalidError):
        _ = replace(POWER_REAL_W, scale="K").factor


# -- opts


def fact(sequence, source, opt_type, resource=None):
    return OptFact(sequence, source, opt_type, resource)


def test_create_opt_rules_its_resource_and_created_event_the_rest():
    facts = [
        fact(1, OptSource.CREATED_EVENT, OptType.IN),
        fact(2, OptSource.CREATE_OPT, OptType.OUT, "r1"),
        fact(3, OptSource.CREATED_EVENT, OptType.IN),
    ]
    assert effective_opt(facts, "r1") is OptType.OUT
    assert effective_opt(facts, "r2") is OptType.IN
    assert effective_opt(facts) is OptType.IN
    assert effective_opt([], "r1") is None
    assert effective_opt([facts[1]], "r2") is None


def test_the_operator_has_the_last_word():
    facts = [fact(1, OptSource.OPERATOR, OptType.OUT), fact(2, OptSource.CREATE_OPT, OptType.IN)]
    assert effective_opt(facts) is OptType.OUT


@given(st.lists(st.sampled_from(OptType), min_size=1, max_size=6), st.sampled_from(OptSource))
def test_of_one_source_the_newest_counts(types, source):
    facts = [fact(place, source, one) for place, one in enumerate(types)]
    assert effective_opt(reversed(facts)) is types[-1]


def test_availability():
    assert Availability(NOON, HOUR).span.end == NOON + timedelta(hours=1)
    assert Availability(NOON, ZERO).span.end is None
    assert Availability(NOON, Duration(12 * 9999)).span.end is None  # as good as without end


# -- reports

DESCRIPTION = ReportDescription("a", "usage", "Direct Read", sampling=SamplingRate(MINUTE, HOUR))
TELEMETRY = ReportOffer("t", "TELEMETRY_USAGE", HOUR, (DESCRIPTION,), NOON)
HISTORY = ReportOffer("h", "HISTORY_USAGE", DAY, (DESCRIPTION,), NOON)
PERIODIC = ReportRequest("rr", "t", ("a",), MINUTE, Duration.of(minutes=2), NOON, HOUR)


@pytest.mark.parametrize(
    "request_",
    [
        PERIODIC,
        replace(PERIODIC, granularity=ZERO),
        replace(PERIODIC, duration=ZERO),
        replace(PERIODIC, duration=Duration(12 * 9999)),
        replace(PERIODIC, granularity=Duration(1), report_back=Duration(1)),
        replace(PERIODIC, granularity=Duration.of(days=31), report_back=Duration(1)),
        ReportRequest("rr", "t", ("a",)),
        ReportRequest("rr", "h", ("a",), start=NOON, duration=DAY),
        ReportRequest("rr", "h", ("a",), start=NOON, duration=ZERO),
    ],
)
def test_requests_that_fit_the_offer(request_):
    assert check_request(request_, [TELEMETRY, HISTORY]).specifier_id == request_.specifier_id


HUGE = Duration(0, 10**15)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(PERIODIC, specifier_id="x"), Code.INVALID_ID),
        (replace(PERIODIC, r_ids=("a", "x")), Code.INVALID_ID),
        (replace(PERIODIC, granularity=Duration.of(seconds=59)), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=Duration.of(minutes=3)), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=Duration(1)), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=HUGE), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=-MINUTE), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=ZERO, report_back=-MINUTE), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=ZERO, report_back=Duration.of(seconds=1)), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=ZERO, report_back=Duration(12 * 9999)), Code.INVALID_DATA),
        (replace(PERIODIC, granularity=Duration.of(days=32), report_back=Duration(1)), Code.INVALID_DATA),
        (replace(PERIODIC, duration=-HOUR), Code.INVALID_DATA),
        (replace(PERIODIC, start=None), Code.COMPLIANCE),
        (replace(PERIODIC, duration=None), Code.COMPLIANCE),
        (ReportRequest("rr", "h", ("a",)), Code.COMPLIANCE),
        (ReportRequest("rr", "h", ("a",), start=NOON, duration=Duration.of(days=2)), Code.INVALID_DATA),
        (ReportRequest("rr", "h", ("a",), start=NOON, duration=HUGE), Code.INVALID_DATA),
        (ReportRequest("rr", "h", ("a",), Duration.of(seconds=1), start=NOON, duration=DAY), Code.INVALID_DATA),
    ],
    ids=range(18),
)
def test_requests_that_do_not(request_, code):
    with pytest.raises(InvalidError) as caught:
        check_request(request_, [TELEMETRY, HISTORY])
    assert fault_of(caught.value).code is code


def test_a_report_that_leaves_the_calendar_is_refused():
    intervals = (ReportInterval((), duration=Duration(12 * 9999)), ReportInterval((), duration=HOUR))
    with pytest.raises(InvalidError) as caught:
        with_starts(Report("rr", "t", "TELEMETRY_USAGE", NOON, intervals, start=NOON))
    assert fault_of(caught.value).code is Code.INVALID_DATA


_lengths = st.builds(Duration, st.integers(0, 10**12), st.integers(0, 10**15))
_any_lengths = _lengths | _lengths.map(lambda length: -length)


@given(_any_lengths, _any_lengths, st.none() | _any_lengths, st.sampled_from(["t", "h"]))
def test_any_request_passes_or_fails_with_a_code(granularity, report_back, duration, specifier):
    request = ReportRequest("rr", specifier, ("a",), granularity, report_back, NOON, duration)
    try:
        assert check_request(request, [TELEMETRY, HISTORY]).specifier_id == specifier
    except InvalidError:
        return
    lengths = [length for length in (granularity, report_back, duration) if length]
    assert all(length.months >= 0 and length.seconds >= 0 for length in lengths)


def test_metadata_requests():
    assert ReportRequest("rr", METADATA, ()).is_metadata
    assert not PERIODIC.is_metadata


@pytest.mark.parametrize(
    "offers",
    [
        [TELEMETRY, TELEMETRY],
        [replace(TELEMETRY, descriptions=(DESCRIPTION, DESCRIPTION))],
        [replace(TELEMETRY, descriptions=(replace(DESCRIPTION, sampling=None),))],
    ],
)
def test_offers_that_break_a_rule(offers):
    with pytest.raises(InvalidError):
        check_offers(offers)


def test_good_offers():
    check_offers([TELEMETRY, replace(HISTORY, descriptions=(replace(DESCRIPTION, sampling=None),))])
    assert TELEMETRY.description("a") is DESCRIPTION
    assert TELEMETRY.description("b") is None


def rows(*intervals, start=NOON, duration=None):
    made = tuple(ReportInterval((ReportPayload("a", 1.0),), *one) for one in intervals)
    return [row[:2] for row in with_starts(Report("rr", "t", "", NOON, made, start, duration))]


def test_starts_follow_from_the_durations():
    at = [NOON + timedelta(minutes=count) for count in range(3)]
    assert rows((None, MINUTE), (None, MINUTE), (None, MINUTE)) == [(one, MINUTE) for one in at]
    assert rows((at[1], None), (at[2], None)) == [(at[1], None), (at[2], None)]
    assert rows((None, None), duration=HOUR) == [(NOON, HOUR)]


@pytest.mark.parametrize("intervals", [((None, None), (None, MINUTE)), ((None, MINUTE), (None, None), (None, None))])
def test_starts_that_do_not_follow(intervals):
    with pytest.raises(InvalidError) as caught:
        rows(*intervals)
    assert fault_of(caught.value).code is Code.COMPLIANCE
    with pytest.raises(InvalidError):
        rows((None, MINUTE), start=None)
