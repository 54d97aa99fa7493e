"""Windows and steps of report requests: whatever is asked, each report advances, ends, and fits into a message."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.points import Flow, Reading
from core.spans import EARLIEST, LATEST, ZERO, Duration
from openadr.model.report import BAD, DOUBTFUL, GOOD, METADATA, ReportRequest, with_starts
from openadr.v20b.messages import (
    CreatedReport,
    CreateReport,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.gateway import _report_plan
from ven.reports import Metered, Reporter, status_point
from vtn.services.flows import flow_of

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AGES = Duration(12 * 9999)
QUIET = OadrResponse(Response())


def ask(bench, *requests):
    bench.poll(CreateReport("cr", tuple(requests), "ven-1"))
    return bench.exchange(CreatedReport, QUIET)


def told(bench, until, most=3000):
    """Let time pass; return what is sent but polls. The engine may neither stand still nor flood."""
    sent = []
    for _ in range(most):
        message = bench.next()
        if message is None:
            wake = bench.engine.wake_at(bench.now)
            if wake > until:
                return sent
            bench.now = max(wake, bench.now)
            continue
        if not isinstance(message, Poll):
            sent.append(message)
        reply = {UpdateReport: UpdatedReport(Response()), RegisterReport: RegisteredReport(Response())}
        bench.hear(reply.get(type(message), QUIET))
    raise AssertionError("this never ends")


def data(sent):
    return [report for message in sent if isinstance(message, UpdateReport) for report in message.reports]


def payloads(report):
    return [payload for interval in report.intervals for payload in interval.payloads]


def qualities(reports):
    return {payload.quality for report in reports for payload in payloads(report)}


# -- requests whose time is over


@pytest.mark.parametrize("days", [1, 2, 30, 400])
@pytest.mark.parametrize(("name", "r_id"), [("TELEMETRY_USAGE", "home/energy"), ("TELEMETRY_STATUS", "home/status")])
def test_a_bounded_request_that_is_over_brings_its_intervals_and_ends(bench, request_for, name, r_id, days):
    bench.register()
    start = NOON - timedelta(days=days)
    bench.meter(NOON - timedelta(hours=2), NOON)
    assert ask(bench, request_for(name, r_id, start=start, back_s=120, duration_s=600)).pending == ("rr-1",)
    found = data(told(bench, bench.now + timedelta(hours=1)))
    assert [len(one.intervals) for one in found] == [2] * 5
    assert [one.start for one in found] == [start + 2 * n * MINUTE for n in range(5)]
    assert qualities(found) == {BAD}
    assert bench.store.report_tasks() == []


def test_a_request_that_starts_hours_ago_brings_its_ten_intervals_and_no_more(bench, request_for):
    bench.register()
    start = NOON - timedelta(hours=3, minutes=10)
    bench.meter(start, NOON, every_s=1800)  # a register that is known at few of the edges
    bench.meter(NOON - timedelta(minutes=20), NOON, register_wh=2800.0)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", start=start, back_s=120, duration_s=600))
    found = data(told(bench, bench.now + timedelta(hours=1)))
    spans = [(begin, length) for report in found for begin, length, _ in with_starts(report)]
    assert spans[0][0] == start
    assert spans[-1][0] + spans[-1][1].timedelta() == start + 10 * MINUTE
    assert 5 <= len(spans) <= 10
    assert bench.store.report_tasks() == []


def test_a_ven_that_was_away_for_longer_than_the_span_sends_what_it_has(bench, benches, household, request_for):
    bench.register()
    bench.meter(NOON, NOON + 4 * MINUTE)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", back_s=120, duration_s=600))
    away = benches(household, store=bench.store, now=NOON + timedelta(days=3))
    away.meter(away.now, away.now + 5 * MINUTE, register_wh=9000.0)
    found = data(told(away, away.now + timedelta(hours=1)))
    assert [one.start for one in found] == [NOON + 2 * n * MINUTE for n in range(5)]
    assert [one.quality for report in found for one in payloads(report)] == [GOOD] * 4 + [BAD] * 6
    assert away.store.report_tasks() == []


def test_what_was_dropped_from_the_store_is_passed_over_to_the_end(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", back_s=120, duration_s=600))
    bench.store.set_fact("readings_dropped_until", int((NOON + timedelta(days=5)).timestamp() * 1e6))
    bench.now = NOON + timedelta(days=6)
    assert data(told(bench, bench.now + timedelta(hours=1))) == []
    assert bench.store.report_tasks() == []


# -- gaps


@pytest.mark.parametrize("back_s", [60, 600])
def test_a_meter_that_begins_late_fills_no_report_with_placeholders(bench, request_for, back_s):
    bench.register()
    bench.meter(NOON - timedelta(hours=1), NOON)
    begun = NOON - timedelta(days=50)
    request = replace(request_for("TELEMETRY_USAGE", "home/energy", back_s=back_s), r_ids=(), start=begun)
    ask(bench, replace(request, duration=Duration.of(days=51)))
    found = data(told(bench, bench.now + timedelta(hours=1), most=5000))
    assert all(len(payloads(one)) <= 1440 for one in found)
    assert {one.value for report in found for one in payloads(report) if one.quality == GOOD} == {1000.0, 16.666667}


def test_a_meter_that_spoke_once_in_a_month_fills_no_report_with_placeholders(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", start=NOON, back_s=60))
    bench.meter(NOON, NOON + 5 * MINUTE)
    away = NOON + timedelta(days=30)
    bench.meter(away + timedelta(seconds=20), away + timedelta(seconds=25), every_s=5, register_wh=9000.0)
    bench.now = away + timedelta(hours=1)
    found = data(told(bench, bench.now + timedelta(hours=1), most=5000))
    assert all(len(payloads(one)) <= 1440 for one in found)


# -- months


def test_a_granularity_in_months_counts_from_the_start(bench, request_for):
    bench.register(poll_freq=Duration.of(hours=12))
    start = datetime(2025, 12, 31, tzinfo=UTC)
    bench.meter(start, NOON + timedelta(days=30), every_s=6 * 3600)
    month = replace(request_for("TELEMETRY_USAGE", "home/energy", start=start), granularity=Duration(1))
    assert ask(bench, replace(month, report_back=Duration(3))).response.code == 200
    (report,) = data(told(bench, NOON + timedelta(days=29)))
    edges = [(begin.month, begin.day, length) for begin, length, _ in with_starts(report)]
    assert edges == [(12, 31, Duration.of(days=31)), (1, 31, Duration.of(days=28)), (2, 28, Duration.of(days=31))]
    assert [one.value for one in payloads(report)] == [744_000.0, 672_000.0, 744_000.0]


# -- odd lengths


_lengths = st.one_of(
    st.builds(Duration, st.integers(0, 30), st.integers(0, 10**6)),
    st.builds(Duration, st.integers(0, 10**13), st.integers(0, 10**17)),
    st.sampled_from([ZERO, AGES, Duration(0, -60), Duration(-1), Duration.of(seconds=1), Duration.of(minutes=1)]),
)
_starts = st.one_of(
    st.none(),
    st.sampled_from([EARLIEST, LATEST, NOON, NOON - timedelta(days=1), NOON + timedelta(days=1)]),
    st.datetimes(timezones=st.just(UTC)),
)
_names = st.sampled_from(["TELEMETRY_USAGE", "TELEMETRY_STATUS", "HISTORY_USAGE", METADATA])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example("TELEMETRY_USAGE", EARLIEST, Duration.of(minutes=1), Duration.of(minutes=1), None)
@given(_names, _starts, _lengths, _lengths, st.none() | _lengths)
def test_whatever_is_asked_the_engine_polls_on(benches, household, name, start, granularity, report_back, duration):
    bench = benches(household).register()
    bench.meter(NOON - timedelta(hours=1), NOON)
    ask(bench, ReportRequest("rr", name, (), granularity, report_back, start, duration))
    for _ in range(2):
        until = bench.now + 10 * MINUTE
        sent = told(bench, until, most=5000)
        assert all(len(payloads(report)) <= 1440 for report in data(sent))
        assert len([one for one in sent if isinstance(one, RegisterReport)]) <= 11
        bench = benches(household, store=bench.store, now=bench.now)  # and so it does after a restart


@pytest.mark.parametrize("back", [Duration.of(seconds=1), -Duration.of(hours=1)])
def test_metadata_too_often_is_refused(bench, back):
    bench.register()
    answer = ask(bench, ReportRequest("md", METADATA, ("0",), report_back=back, start=NOON, duration=ZERO))
    assert (answer.response.code, answer.pending) == (454, ())


def test_bounded_metadata_ends(bench):
    bench.register()
    span = {"start": NOON, "duration": Duration.of(minutes=10)}
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=Duration.of(minutes=2), **span))
    sent = told(bench, NOON + timedelta(hours=2))
    assert len([one for one in sent if isinstance(one, RegisterReport)]) == 5  # RP-14
    assert bench.store.report_tasks() == []


@pytest.mark.parametrize("start", [NOON, NOON - timedelta(days=900), None])
def test_metadata_that_never_comes_again_is_sent_once(bench, start):
    bench.register()
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=AGES, start=start, duration=ZERO))
    sent = told(bench, NOON + timedelta(hours=2))
    assert len([one for one in sent if isinstance(one, RegisterReport)]) == 1
    assert bench.store.report_tasks() == []


def test_metadata_asked_for_again_unchanged_starts_nothing_anew(bench):
    bench.register()
    request = ReportRequest("md", METADATA, ("0",), report_back=Duration.of(hours=1), start=NOON, duration=ZERO)
    for _ in range(5):
        ask(bench, request)
    sent = told(bench, NOON + timedelta(minutes=50))
    assert len([one for one in sent if isinstance(one, RegisterReport)]) <= 1  # TR-12


def test_a_report_that_the_server_could_not_take_is_tried_again_within_the_hour(bench, request_for):
    bench.register()
    month = replace(request_for("TELEMETRY_USAGE", "home/energy"), granularity=ZERO, report_back=Duration(1))
    ask(bench, month)
    (task,) = bench.store.report_tasks()
    bench.engine._reports.postponed(task, NOON)
    assert bench.store.report_task(task.id).next_try - NOON <= timedelta(hours=1)


# -- sizes


def test_a_window_too_large_for_a_message_goes_out_in_several_once_it_is_over(bench, request_for):
    bench.register(poll_freq=Duration.of(hours=1))
    bench.meter(NOON, NOON + timedelta(days=1))
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", back_s=86_400, duration_s=86_400))
    assert data(told(bench, NOON + timedelta(hours=23))) == []
    found = data(told(bench, NOON + timedelta(hours=25)))
    assert [len(one.intervals) for one in found] == [480] * 3
    assert sum(one.value for report in found for one in payloads(report)) == pytest.approx(24_000.0)


def test_a_long_backlog_goes_out_in_large_reports_and_only_the_last_day_in_small_ones(bench, request_for):
    bench.register(poll_freq=Duration.of(hours=1))
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(NOON, NOON + timedelta(days=3))
    bench.now = NOON + timedelta(days=3)
    (task,) = bench.store.report_tasks()
    sizes = []
    while task.delivered_until < bench.now:
        sampled = bench.reporter.sample(task, bench.now)
        sizes.append(len(sampled.report.intervals))
        task = sampled.after
    assert sizes == [480] * 6 + [1] * 1440


def test_many_data_points_share_a_message_s_room(bench, request_for):
    bench.reporter = Reporter(bench.ring, [Metered(f"r{n}", "meter.energy") for n in range(40)], bench.plan)
    r_ids = tuple(f"r{n}/energy" for n in range(40))
    task = bench.reporter.begin(request_for("TELEMETRY_USAGE", *r_ids, back_s=86_400), "TELEMETRY_USAGE", NOON)
    report = bench.reporter.sample(task, NOON + timedelta(days=2)).report
    assert len(payloads(report)) == 1440


def test_a_data_point_named_often_is_reported_once(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", *["home/energy"] * 1000))
    assert bench.store.report_task("rr-1").request.r_ids == ("home/energy",)


def test_no_more_requests_are_kept_than_a_household_can_serve(bench, request_for):
    bench.register()
    many = [request_for("TELEMETRY_USAGE", "home/energy", request_id=str(n), back_s=3600) for n in range(300)]
    answer = ask(bench, *many)
    assert (answer.response.code, len(answer.pending)) == (454, 200)


def test_a_meter_that_comes_and_goes_does_not_hold_up_the_report(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    lone = [Reading("meter.energy", NOON + timedelta(minutes=7 * n), 10.0 * n) for n in range(1, 1000)]
    bench.ring.add(lone)
    bench.now = lone[-1].start
    asked = []
    first_after = bench.ring.first_after
    bench.ring.first_after = lambda point, when: asked.append(when) or first_after(point, when)
    (task,) = bench.store.report_tasks()
    assert bench.reporter.sample(task, bench.now).report is not None
    assert len(asked) <= 200


# -- doubt


def _register(*wh):
    return [Reading("meter.energy", NOON + number * MINUTE, value) for number, value in enumerate(wh)]


def _usage_of_five_minutes(bench, request_for):
    """Return the payloads of five minutes of a register that began at noon."""
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", back_s=300))
    sent = data(told(bench, NOON + timedelta(minutes=8)))
    return payloads(sent[0])


def test_what_is_doubted_is_said_to_be_doubtful(bench, request_for):
    bench.ring.add(_register(1_000_000, 1_000_010, 1_000_020, 4, 14, 24, 34, 44))
    qualities = [payload.quality for payload in _usage_of_five_minutes(bench, request_for)]
    assert qualities == [GOOD, GOOD, DOUBTFUL, GOOD, GOOD]


@pytest.mark.parametrize(("connection_w", "quality"), [(11_000, DOUBTFUL), (60_000, GOOD)])
def test_what_the_household_s_connection_carries_is_believed(bench, variant, request_for, connection_w, quality):
    home = variant(site={"connection_w": connection_w})
    bench = type(bench)(home, plan=_report_plan(home))
    bench.ring.add(_register(0, 10, 20, 930, 940, 950, 960, 970))
    assert _usage_of_five_minutes(bench, request_for)[2].quality == quality


# -- history


def test_history_lists_a_silent_meters_data_point_too(bench, request_for):
    meters = [Metered("home", "meter.energy"), Metered("shed", "silent.energy")]
    bench.reporter = Reporter(bench.ring, meters, bench.plan)
    start = NOON - timedelta(days=1)
    bench.meter(start, NOON, every_s=1800)
    request = request_for("HISTORY_USAGE", "home/energy", "shed/energy", start=start, step_s=0, back_s=0)
    sampled = bench.reporter.sample(bench.reporter.begin(request, "HISTORY_USAGE", NOON), NOON)
    by_r_id = {"home/energy": set(), "shed/energy": set()}
    for payload in payloads(sampled.report):
        by_r_id[payload.r_id].add(payload.quality)
    assert by_r_id == {"home/energy": {GOOD}, "shed/energy": {BAD}}  # RP-40, RP-48
    assert all(len(interval.payloads) == 2 for interval in sampled.report.intervals)


def test_history_of_a_meter_whose_clock_was_once_wrong_leaps_to_the_present(bench, request_for):
    bench.ring.add([Reading("meter.energy", datetime(1970, 1, 1, tzinfo=UTC) + n * MINUTE, 5.0) for n in range(2)])
    bench.meter(NOON - timedelta(days=1), NOON, every_s=1800)
    reads = []
    between = bench.ring.between
    bench.ring.between = lambda *args, **more: reads.append(args) or between(*args, **more)
    task = bench.reporter.begin(request_for("HISTORY_USAGE", "home/energy", step_s=0, back_s=0), "HISTORY_USAGE", NOON)
    starts = []
    while task is not None:
        sampled = bench.reporter.sample(replace(task, request=replace(task.request, start=EARLIEST)), NOON)
        starts += [sampled.report.start] if sampled.report else []
        task = sampled.after
    assert starts[-1] >= NOON - timedelta(days=2)
    assert len(reads) < 20


def test_a_status_of_long_ago_says_how_fresh_it_was(bench, request_for):
    bench.register()
    bench.ring.add([Reading(status_point("home", "online"), NOON - timedelta(days=2), 1.0)])
    start = NOON - timedelta(days=2)
    ask(bench, request_for("TELEMETRY_STATUS", "home/status", start=start, back_s=600, step_s=600, duration_s=1800))
    found = data(told(bench, NOON + MINUTE))
    assert [one.start for one in found] == [start + 10 * n * MINUTE for n in range(3)]
    assert [one.quality == GOOD for report in found for one in payloads(report)] == [True, True, False]


def test_the_export_register_is_offered_and_reported(bench, request_for):
    meters = [Metered("home", "meter.energy", export="meter.export_energy")]
    reporter = Reporter(bench.ring, meters, bench.plan)
    offered = {one.r_id: one for offer in reporter.offers(NOON) for one in offer.descriptions}
    assert (flow_of(offered["home/energy"]), flow_of(offered["home/export"])) == (Flow.IMPORT, Flow.EXPORT)
    bench.meter(NOON, NOON + 4 * MINUTE, power_w=300.0)
    bench.ring.add(Reading("meter.export_energy", NOON + n * MINUTE, 70.0 + 20 * n) for n in range(4))
    asked = request_for("TELEMETRY_USAGE", "home/energy", "home/export", back_s=180)
    task = reporter.begin(asked, "TELEMETRY_USAGE", NOON)
    assert reporter.due_at(task, NOON + 3 * MINUTE) == NOON + 3 * MINUTE, "both registers were read at its end"
    values = {}
    for one in payloads(reporter.sample(task, NOON + 3 * MINUTE).report):
        values.setdefault(one.r_id, []).append(one.value)
    assert values == {"home/energy": [5, 5, 5], "home/export": [20, 20, 20]}


def test_a_report_waits_for_the_export_register_as_well(bench, request_for):
    reporter = Reporter(bench.ring, [Metered("home", "meter.energy", export="meter.export_energy")], bench.plan)
    bench.meter(NOON, NOON + 4 * MINUTE)
    bench.ring.add([Reading("meter.export_energy", NOON, 70.0)])
    task = reporter.begin(
        request_for("TELEMETRY_USAGE", "home/energy", "home/export", back_s=180), "TELEMETRY_USAGE", NOON
    )
    assert reporter.due_at(task, NOON + 3 * MINUTE) == NOON + 3 * MINUTE + bench.plan.settle
