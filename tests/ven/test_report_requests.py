"""Being asked for reports, sending them, stopping."""

from datetime import UTC, datetime, timedelta

import pytest

from core.points import Reading
from core.spans import ZERO, Duration
from openadr.model.report import BAD, GOOD, METADATA, NO_NEW_VALUE, STALE, ReportRequest, with_starts
from openadr.v20b.messages import (
    CanceledReport,
    CancelReport,
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
from ven.engine import Failure, Refused
from ven.reports import status_point

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
QUIET = OadrResponse(Response())
DONE = UpdatedReport(Response())


def ask(bench, *requests, request_id="cr-1"):
    """Ask through a poll and return the answer."""
    bench.poll(CreateReport(request_id, tuple(requests), "ven-1"))
    return bench.exchange(CreatedReport, QUIET)


def reports(bench, until):
    """Let time pass and return the data reports that come, each confirmed."""
    found = []
    while True:
        message = bench.next()
        if message is None:
            wake = bench.engine.wake_at(bench.now)
            if wake > until:
                return found
            bench.now = max(wake, bench.now)
        elif isinstance(message, UpdateReport):
            found += message.reports
            bench.hear(DONE)
        elif isinstance(message, RegisterReport):
            bench.hear(RegisteredReport(Response()))
        else:
            bench.hear(QUIET)


def spans(report):
    return [(start, duration) for start, duration, _ in with_starts(report)]


def values(report, r_id):
    return [one.value for interval in report.intervals for one in interval.payloads if one.r_id == r_id]


def qualities(report):
    return [one.quality for interval in report.intervals for one in interval.payloads]


# -- being asked


def test_a_piggybacked_request_is_confirmed_and_served(bench, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/power")])
    created = next(one for one in bench.said if isinstance(one, CreatedReport))  # RP-13
    assert created.pending == ("rr-1",)
    bench.meter(bench.now, bench.now + timedelta(minutes=5))
    found = reports(bench, bench.now + timedelta(minutes=5))
    assert len(found) == 5
    assert {one.request_id for one in found} == {"rr-1"}


def test_an_invalid_piggybacked_request_is_refused_politely(bench, request_for):
    bench.register(
        requests=[
            request_for("TELEMETRY_USAGE", "nowhere/power"),
            request_for("TELEMETRY_STATUS", "home/status", request_id="good"),
        ]
    )
    created = next(one for one in bench.said if isinstance(one, CreatedReport))
    assert created.response.code == 452
    assert created.pending == ("good",)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 200),
        ({"specifier": "NO_SUCH"}, 452),
        ({"r_ids": ("home/heat",)}, 452),
        ({"step_s": 10}, 454),
        ({"step_s": 120, "back_s": 60}, 454),
    ],
)
def test_only_what_was_offered_can_be_asked(bench, request_for, changes, code):
    bench.register()
    changes = {"specifier": "TELEMETRY_USAGE", "r_ids": ("home/energy",)} | changes
    request = request_for(changes.pop("specifier"), *changes.pop("r_ids"), **changes)
    answer = ask(bench, request)
    assert (answer.response.code, answer.response.request_id) == (code, "cr-1")  # RP-20, RP-27, GN-06
    assert bool(answer.pending) == (code == 200)


def test_more_history_than_offered_is_exactly_454(bench, request_for):
    bench.register()
    year = request_for("HISTORY_USAGE", "home/energy", step_s=0, back_s=0, duration_s=365 * 86400)
    assert ask(bench, year).response.code == 454  # RP-30


def test_a_request_without_interval_means_from_now_on(bench):
    bench.register()
    request = ReportRequest("rr", "TELEMETRY_USAGE", ("home/energy",), Duration(0, 60), Duration(0, 60))
    assert ask(bench, request).response.code == 200
    bench.meter(bench.now, bench.now + timedelta(minutes=3))
    assert len(reports(bench, bench.now + timedelta(minutes=3))) == 3


def test_a_request_without_data_points_means_all(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE"))
    assert bench.store.report_task("rr-1").request.r_ids == ("home/energy", "home/power")


def test_the_same_request_again_starts_nothing_anew(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(bench.now, bench.now + timedelta(minutes=9))
    reports(bench, bench.now + timedelta(minutes=3))
    before = bench.store.report_task("rr-1").delivered_until
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    assert bench.store.report_task("rr-1").delivered_until >= before > NOON  # TR-12


def test_gn08_what_is_for_another_ven_is_refused_in_its_own_terms(bench, request_for):
    bench.register()
    bench.poll(CreateReport("r", (request_for("TELEMETRY_USAGE", "home/energy"),), "ven-2"))
    refused = bench.exchange(CreatedReport, OadrResponse(Response())).response
    assert (refused.code, refused.request_id) == (452, "r")
    assert bench.store.report_tasks() == []
    bench.poll(CancelReport("x", ("rr-1",), report_to_follow=False, ven_id="ven-2"))
    refused = bench.exchange(CanceledReport, OadrResponse(Response())).response
    assert (refused.code, refused.request_id) == (452, "x")


def test_metadata_can_be_asked_for_once(bench, request_for):
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy", request_id="old")])
    answer = ask(bench, ReportRequest("md", METADATA, ("0",)))
    assert answer.response.code == 200
    message = bench.exchange(RegisterReport, RegisteredReport(Response()))
    assert message.report_request_id == "md"  # RP-06, RP-14
    assert bench.store.report_tasks() == []  # RP-03: the old request is void


def test_metadata_can_be_asked_for_again_and_again(bench):
    bench.register()
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=Duration.of(hours=1), start=bench.now, duration=ZERO))
    seen = 0
    for _ in range(400):
        message = bench.next()
        if message is None:
            bench.now = max(bench.now, bench.engine.wake_at(bench.now))
        elif isinstance(message, RegisterReport):
            assert message.report_request_id == "md"
            bench.hear(RegisteredReport(Response()))
            seen += 1
        else:
            bench.hear(QUIET)
    assert 2 <= seen <= 8
    assert [task.id for task in bench.store.report_tasks()] == ["md"]  # it survives its own metadata (RP-03)


def test_periodic_metadata_that_says_nothing_new_leaves_the_data_reports_running(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    back = Duration.of(minutes=5)
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=back, start=bench.now, duration=ZERO))
    bench.meter(bench.now, bench.now + timedelta(minutes=30))
    assert len(reports(bench, bench.now + timedelta(minutes=20))) >= 15, "one a minute, whatever metadata goes between"
    assert {task.id for task in bench.store.report_tasks()} == {"md", "rr-1"}


def test_periodic_metadata_that_says_something_new_voids_them(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.store.set_fact("offers", "what was offered before")
    back = Duration.of(minutes=5)
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=back, start=bench.now, duration=ZERO))
    bench.exchange(RegisterReport, RegisteredReport(Response()))
    assert [task.id for task in bench.store.report_tasks()] == ["md"]  # RP-03


# -- data


def test_periodic_reports_have_their_intervals(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", "home/power", step_s=60, back_s=120, duration_s=600))
    bench.meter(bench.now, bench.now + timedelta(minutes=20), power_w=1200.0)
    found = reports(bench, bench.now + timedelta(minutes=20))
    assert len(found) == 5  # RP-25
    for index, report in enumerate(found):
        assert report.name == "TELEMETRY_USAGE"  # RP-40
        assert report.start == report.intervals[0].start  # RP-41
        assert len(report.intervals) == 2  # RP-46
        assert values(report, "home/energy") == [20.0, 20.0]
        assert values(report, "home/power") == [1200.0, 1200.0]
        assert spans(report)[0][0] == found[0].start + timedelta(minutes=2 * index)
        assert all(duration == Duration.of(minutes=1) for _, duration in spans(report))  # RP-42
        assert set(qualities(report)) == {GOOD}
    assert bench.store.report_tasks() == []  # its time is over


def test_while_the_time_is_in_doubt_no_data_is_reported_and_nothing_else_waits(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    back = Duration.of(minutes=5)
    ask(bench, ReportRequest("md", METADATA, ("0",), report_back=back, start=bench.now, duration=ZERO))
    bench.in_doubt, before = True, len(bench.said)
    assert reports(bench, NOON + timedelta(minutes=10)) == []
    assert {type(message) for message in bench.said[before:]} == {Poll, RegisterReport}
    bench.in_doubt = False
    bench.meter(NOON, NOON + timedelta(minutes=20))
    late = reports(bench, NOON + timedelta(minutes=15))
    assert len(late) >= 14
    assert {quality for report in late for quality in qualities(report)} == {GOOD}


def test_a_future_start_delays_the_first_report(bench, request_for):
    bench.register()
    start = bench.now + timedelta(minutes=30)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", start=start))
    bench.meter(bench.now, bench.now + timedelta(minutes=33))
    found = reports(bench, bench.now + timedelta(minutes=33))
    assert [one.start for one in found] == [start + timedelta(minutes=n) for n in range(3)]  # RP-28


def test_a_start_in_the_past_is_where_the_first_report_begins(bench, request_for):
    bench.register()
    noon = bench.now
    wh = bench.meter(noon - timedelta(hours=1), noon, every_s=1800)
    bench.meter(noon + timedelta(minutes=12), noon + timedelta(minutes=15), register_wh=wh + 100.0)
    bench.now = noon + timedelta(minutes=15)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", start=noon, back_s=300))
    (report,) = reports(bench, bench.now)
    assert spans(report)[:2] == [  # the gap before the first live reading comes from the register
        (noon, Duration.of(minutes=12)),
        (noon + timedelta(minutes=12), Duration.of(minutes=1)),
    ]
    assert values(report, "home/energy")[0] == 100.0


def test_a_start_long_ago_is_cut_to_a_day(bench, request_for):
    bench.register()
    day = timedelta(days=1)
    bench.meter(bench.now - 2 * day, bench.now)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", start=bench.now - 2 * day, back_s=3600))
    assert reports(bench, bench.now)[0].start == bench.now - day


def test_telemetry_waits_for_the_meters_memory(bench, request_for):
    bench.register()
    bench.reporter.history_ready = False
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(bench.now, bench.now + timedelta(minutes=10))
    assert reports(bench, bench.now + timedelta(minutes=10)) == []
    bench.reporter.history_ready = True
    assert len(reports(bench, bench.now)) == 10


def test_a_report_waits_for_the_reading_that_closes_it(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(noon, noon)
    bench.now = noon + timedelta(seconds=61)
    assert not any(isinstance(one, UpdateReport) for one in drain(bench))
    bench.ring.add([Reading("meter.energy", noon + timedelta(seconds=60), 17.0)])
    assert [values(one.reports[0], "home/energy") for one in drain(bench) if isinstance(one, UpdateReport)] == [[17.0]]


def drain(bench):
    """Return what the engine says at this moment."""
    found = []
    while (message := bench.next()) is not None:
        found.append(message)
        bench.hear(DONE if isinstance(message, UpdateReport) else QUIET)
    return found


def test_a_silent_meter_gets_a_placeholder_and_later_one_estimated_interval(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", "home/power"))
    bench.meter(noon, noon + timedelta(minutes=2), power_w=600.0)
    found = reports(bench, noon + timedelta(minutes=10))
    assert [one.quality for one in found[0].intervals[0].payloads] == [GOOD, GOOD]
    assert len(found) > 4
    for report in found[2:]:
        assert set(qualities(report)) == {BAD}  # RP-48
        assert values(report, "home/energy") == [0.0]
    silent_until = found[-1].start + timedelta(minutes=1)
    bench.ring.add([Reading("meter.energy", silent_until + timedelta(minutes=n), 500.0 + 10 * n) for n in range(3)])
    later = reports(bench, silent_until + timedelta(minutes=1))
    gap = later[0].intervals[0]
    assert gap.start == noon + timedelta(minutes=2)
    assert gap.duration.timedelta() == silent_until - gap.start
    energy, power = gap.payloads
    assert energy.value == 500.0 - 20.0  # all of it, from the register
    assert energy.quality == power.quality == "Quality Uncertain - Non Specific"
    assert power.value == pytest.approx(480.0 * 3600 / gap.duration.exact_s)


def test_a_gateway_that_was_away_sends_one_interval_for_the_gap_and_no_placeholder(
    bench, benches, household, request_for
):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(noon, noon + timedelta(minutes=3), power_w=600.0)
    assert len(reports(bench, noon + timedelta(minutes=3))) == 3
    back = noon + timedelta(minutes=20)
    again = benches(household, store=bench.store, now=back)
    again.meter(back, back + timedelta(minutes=3), register_wh=200.0, power_w=600.0)
    found = reports(again, back + timedelta(minutes=3))
    everything = [
        (interval.start, interval.duration, interval.payloads[0]) for one in found for interval in one.intervals
    ]
    start, duration, payload = everything[0]
    assert (start, duration) == (noon + timedelta(minutes=3), Duration.of(minutes=17))
    assert (payload.value, payload.quality) == (170.0, "Quality Uncertain - Non Specific")
    assert [payload.quality for _, _, payload in everything[1:]] == [GOOD] * (len(everything) - 1)
    assert BAD not in [payload.quality for _, _, payload in everything]
    assert sum(payload.value for *_, payload in everything) == pytest.approx(230.0 - 30.0)


def test_one_shot_is_answered_at_once_with_the_newest_sample(bench, request_for):
    bench.register()
    bench.meter(bench.now - timedelta(minutes=30), bench.now, power_w=900.0)
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", "home/power", step_s=0, back_s=0))
    message = bench.exchange(UpdateReport, DONE)
    (interval,) = message.reports[0].intervals  # RP-24, RP-51
    assert [one.value for one in interval.payloads] == [15.0, 900.0]
    assert (interval.start, interval.duration) == (bench.now - timedelta(minutes=1), Duration.of(minutes=1))
    assert bench.store.report_tasks() == []


def test_one_shot_without_data_is_a_placeholder(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", step_s=0, back_s=0))
    assert qualities(bench.exchange(UpdateReport, DONE).reports[0]) == [BAD]


def test_status_is_reported_as_points(bench, request_for):
    bench.register()
    noon = bench.now
    for minute, online in ((0, 1.0), (2, 0.0)):
        at = noon + timedelta(minutes=minute)
        bench.ring.add([Reading(status_point("home", "online"), at, online)])
    bench.ring.add([Reading(status_point("home", "capacity"), noon, 0.25)])
    ask(bench, request_for("TELEMETRY_STATUS", "home/status", step_s=60, back_s=240))
    (report, *_) = reports(bench, noon + timedelta(minutes=7))
    status = [one.payloads[0].value for one in report.intervals]
    assert [one.online for one in status] == [True, True, False, False]
    assert {one.capacity.current for one in status} == {0.25}
    assert all(one.start is not None and one.duration is None for one in report.intervals)  # RP-43
    assert qualities(report) == [GOOD] * 4


def test_an_old_status_is_only_the_last_usable_one(bench, request_for):
    bench.register()
    bench.ring.add([Reading(status_point("home", "online"), bench.now - timedelta(hours=1), 1.0)])
    ask(bench, request_for("TELEMETRY_STATUS", "home/status", step_s=0, back_s=0))
    (report,) = bench.exchange(UpdateReport, DONE).reports
    assert qualities(report) == [STALE]


def test_on_change_reports_leave_out_what_did_not_change(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/power", step_s=0, back_s=300))
    wh = bench.meter(noon, noon + timedelta(minutes=5), power_w=600.0)
    wh = bench.meter(noon + timedelta(minutes=5), noon + timedelta(minutes=7), power_w=600.0, register_wh=wh)
    bench.meter(noon + timedelta(minutes=7), noon + timedelta(minutes=10), power_w=1200.0, register_wh=wh)
    first, second = reports(bench, noon + timedelta(minutes=10))
    assert qualities(first) == [NO_NEW_VALUE]  # RP-47: it still goes out
    assert values(second, "home/power") == [600.0, 1200.0]


def test_history_comes_in_chunks_from_old_to_new(bench, request_for):
    bench.register()
    start = bench.now - timedelta(days=20)
    total = bench.meter(start, bench.now, every_s=1800, power_w=400.0, register_wh=1_000_000.0)
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0, duration_s=20 * 86400))
    found = [one for one in reports(bench, bench.now) if one.name == "HISTORY_USAGE"]
    assert [len(one.intervals) for one in found] == [480, 480]
    rows = [row for one in found for row in with_starts(one)]
    assert [row[0] for row in rows] == [start + timedelta(minutes=30 * n) for n in range(960)]
    assert sum(row[2].payloads[0].value for row in rows) == pytest.approx(total - 1_000_000.0)
    assert bench.store.report_tasks() == []


def test_history_with_a_gap_has_one_long_interval(bench, request_for):
    bench.register()
    start = bench.now - timedelta(days=2)
    wh = bench.meter(start, start + timedelta(hours=10), every_s=1800)
    bench.meter(start + timedelta(hours=20), bench.now, every_s=1800, register_wh=wh + 123.0)
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0, duration_s=2 * 86400))
    (report,) = [one for one in reports(bench, bench.now) if one.name == "HISTORY_USAGE"]
    (gap,) = [one for one in report.intervals if one.duration != Duration.of(minutes=30)]
    assert (gap.start, gap.duration) == (start + timedelta(hours=10), Duration.of(hours=10))
    assert gap.payloads[0].value == 123.0
    assert gap.payloads[0].quality == "Quality Uncertain - Non Specific"


def test_history_of_everything_begins_with_the_oldest_reading(bench, request_for):
    bench.register()
    start = bench.now - timedelta(days=3)
    bench.meter(start, bench.now, every_s=1800)
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start - timedelta(days=30), step_s=0, back_s=0))
    (report,) = [one for one in reports(bench, bench.now) if one.name == "HISTORY_USAGE"]
    assert report.start == start  # RP-28


def test_history_without_data_is_a_placeholder(bench, request_for):
    bench.register()
    start = bench.now - timedelta(days=1)
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0, duration_s=86400))
    (report,) = reports(bench, bench.now)
    assert qualities(report) == [BAD]
    assert bench.store.report_tasks() == []


def test_history_waits_for_the_meters_memory(bench, request_for):
    bench.register()
    bench.reporter.history_ready = False
    start = bench.now - timedelta(days=1)
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0, duration_s=86400))
    assert reports(bench, bench.now + timedelta(hours=1)) == []
    bench.meter(start, bench.now, every_s=1800)
    bench.reporter.history_ready = True
    assert len(reports(bench, bench.now)) == 1


# -- stopping


def test_cancelled_reports_stop_and_unknown_ones_are_452(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", request_id="a"))
    ask(bench, request_for("TELEMETRY_USAGE", "home/power", request_id="b"))
    bench.poll(CancelReport("c1", ("a",), report_to_follow=False, ven_id="ven-1"))
    answer = bench.exchange(CanceledReport, QUIET)
    assert (answer.response.code, answer.pending) == (200, ("b",))  # RP-31, RP-60
    bench.poll(CancelReport("c2", ("b", "nope"), report_to_follow=False))
    answer = bench.exchange(CanceledReport, QUIET)
    assert (answer.response.code, answer.pending) == (452, ())
    bench.meter(bench.now, bench.now + timedelta(minutes=10))
    assert reports(bench, bench.now + timedelta(minutes=10)) == []


def test_one_last_report_follows_if_wanted(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", step_s=60, back_s=600))
    bench.meter(noon, noon + timedelta(minutes=30))
    bench.now = noon + timedelta(minutes=4)
    bench.poll(CancelReport("c", ("rr-1",), report_to_follow=True))
    bench.exchange(CanceledReport, QUIET)
    found = reports(bench, noon + timedelta(minutes=30))
    assert len(found) == 1  # RP-61
    assert len(found[0].intervals) == 4
    assert bench.store.report_tasks() == []


def test_a_cancelled_history_ends_with_one_last_report(bench, request_for):
    bench.register()
    start = bench.now - timedelta(days=20)
    bench.meter(start, bench.now, every_s=1800)
    bench.reporter.history_ready = False
    ask(bench, request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0))
    bench.poll(CancelReport("c", ("rr-1",), report_to_follow=True))
    bench.exchange(CanceledReport, QUIET)
    bench.reporter.history_ready = True
    assert len(reports(bench, bench.now)) == 1


def test_the_answer_to_a_report_can_cancel_it(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(bench.now, bench.now + timedelta(minutes=10))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    bench.hear(UpdatedReport(Response(), CancelReport("c", ("rr-1",))))  # RP-62
    assert reports(bench, bench.now + timedelta(minutes=10)) == []
    assert CanceledReport not in [type(one) for one in bench.said]


def test_the_answer_can_only_cancel_what_it_answers(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", request_id="a"))
    ask(bench, request_for("TELEMETRY_STATUS", "home/status", request_id="b", back_s=3600))
    bench.meter(bench.now, bench.now + timedelta(minutes=10))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    bench.hear(UpdatedReport(Response(), CancelReport("c", ("b",))))
    assert {task.id for task in bench.store.report_tasks()} == {"a", "b"}


# -- trouble


def test_a_report_is_done_only_when_it_was_confirmed(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(noon, noon + timedelta(minutes=10))
    bench.after(minutes=1)
    sent = []
    for _ in range(6):
        message = bench.next()
        if isinstance(message, UpdateReport):
            sent.append(message.reports[0].start)
            bench.engine.failed(Failure.UNREACHABLE, bench.now)
        elif message is not None:
            bench.hear(QUIET)
        bench.after(seconds=5)
    assert len(sent) > 2
    assert set(sent) == {noon}


def test_a_server_that_chokes_on_a_report_is_still_polled(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(noon, noon + timedelta(minutes=30))
    polls = tries = 0
    for _ in range(60):
        message = bench.next()
        if message is None:
            bench.now = max(bench.now, bench.engine.wake_at(bench.now))
        elif isinstance(message, UpdateReport):
            tries += 1
            bench.engine.failed(Failure.BROKEN, bench.now)
        else:
            polls += 1
            bench.hear(QUIET)
    assert polls > 10
    assert tries > 5
    assert bench.store.report_task("rr-1").delivered_until == noon


def test_a_vtn_that_forgot_the_request_stops_it(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(bench.now, bench.now + timedelta(minutes=5))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    (noted,) = bench.hear(UpdatedReport(Response(452)))
    assert noted.problem
    assert bench.store.report_tasks() == []


def test_a_report_that_the_vtn_dislikes_is_not_repeated_but_the_next_one_comes(bench, request_for):
    bench.register()
    noon = bench.now
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(noon, noon + timedelta(minutes=5))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    bench.hear(UpdatedReport(Response(454, "no")))
    assert reports(bench, noon + timedelta(minutes=3))[0].start == noon + timedelta(minutes=1)


def test_a_wrong_answer_to_a_report_keeps_it(bench, request_for):
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy"))
    bench.meter(bench.now, bench.now + timedelta(minutes=5))
    bench.after(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(QUIET)
    (refused,) = bench.hear(QUIET)
    assert isinstance(refused, Refused)
    assert bench.store.report_task("rr-1").delivered_until == bench.now - timedelta(minutes=2)


def test_one_value_an_interval_for_vtns_that_read_no_more(bench, request_for):
    bench.reporter._plan = type(bench.plan)(single=True)
    bench.register()
    ask(bench, request_for("TELEMETRY_USAGE", "home/energy", "home/power"))
    bench.meter(bench.now, bench.now + timedelta(minutes=1))
    (report,) = reports(bench, bench.now + timedelta(minutes=1))
    assert [len(one.payloads) for one in report.intervals] == [1, 1]
    assert all(one.start is not None for one in report.intervals)
