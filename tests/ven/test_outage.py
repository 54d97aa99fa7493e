"""Three days without a VTN, on real files with a stepped clock."""

from datetime import UTC, datetime, timedelta

import pytest

from core.points import Reading
from openadr.model.report import BAD, with_starts
from openadr.v20b.messages import OadrResponse, Response, UpdatedReport, UpdateReport
from ven.engine import Failure
from ven.store import Store
from ven.vtn_state import ReportTask

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OUTAGE = timedelta(days=3)


def live_through(bench, request, days=OUTAGE, step=timedelta(minutes=5)):
    """Register, then meter through an outage in which every message fails; return the bench at its end."""
    bench.register(requests=[request])
    end = NOON + days
    register = 0.0
    while bench.now < end:
        readings = []
        for _ in range(int(step / timedelta(minutes=1))):
            bench.now += timedelta(minutes=1)
            register += 10.0
            readings.append(Reading("meter.energy", bench.now, register))
        bench.ring.add(readings)
        if bench.next() is not None:
            bench.engine.failed(Failure.UNREACHABLE, bench.now)
    return bench.after(seconds=90)  # the back-off of what failed last


def catch_up(bench):
    """Answer everything until nothing is due; return the data reports in the order in which they came."""
    found = []
    while (message := bench.next()) is not None:
        if isinstance(message, UpdateReport):
            found += message.reports
            bench.hear(UpdatedReport(Response()))
        else:
            bench.hear(OadrResponse(Response()))
    return found


def rows(reports):
    return [(start, one.duration, one.payloads[0]) for report in reports for start, _, one in with_starts(report)]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "gateway.db")
    store.db.execute("PRAGMA synchronous=OFF")  # the test steps through days; durability is tested elsewhere
    yield store
    store.close()


def test_late_reports_arrive_oldest_first_and_nothing_is_lost(benches, household, store, request_for):
    bench = benches(household, store=store)
    bench.ring.add([Reading("meter.energy", NOON, 0.0)])
    request = request_for("TELEMETRY_USAGE", "home/energy", step_s=300, back_s=900)
    live_through(bench, request)
    found = rows(catch_up(bench))
    starts = [start for start, _, _ in found]
    assert starts == [NOON + timedelta(minutes=5 * n) for n in range(3 * 24 * 12)]  # oldest first, each once
    assert {payload.value for *_, payload in found} == {50.0}
    assert BAD not in {payload.quality for *_, payload in found}


def test_a_restart_in_the_middle_changes_nothing(benches, household, tmp_path, request_for):
    path = tmp_path / "gateway.db"
    store = Store(path)
    bench = benches(household, store=store)
    bench.ring.add([Reading("meter.energy", NOON, 0.0)])
    live_through(bench, request_for("TELEMETRY_USAGE", "home/energy", step_s=3600, back_s=3600), timedelta(days=1))
    now = bench.now
    first = []
    while len(first) < 7:
        message = bench.next()
        if isinstance(message, UpdateReport):
            first += message.reports
            bench.hear(UpdatedReport(Response()))
        else:
            bench.hear(OadrResponse(Response()))
    while not isinstance(bench.next(), UpdateReport):  # one more is under way as the gateway dies
        bench.hear(OadrResponse(Response()))
    store.close()
    again = benches(household, store=Store(path), now=now)
    rest = catch_up(again)
    starts = [start for start, _, _ in rows([*first, *rest])]
    assert starts == [NOON + timedelta(hours=n) for n in range(24)]
    again.store.close()


def test_the_cap_holds_counts_and_costs_only_what_it_dropped(benches, variant, store, request_for):
    small = variant(limits={"readings": 2000})
    bench = benches(small, store=store)
    bench.ring.add([Reading("meter.energy", NOON, 0.0)])
    request = request_for("TELEMETRY_USAGE", "home/energy", step_s=900, back_s=900)
    live_through(bench, request)
    assert len(bench.ring) <= 2000
    assert len(bench.ring) + bench.ring.dropped == 3 * 24 * 60 + 1
    oldest = bench.ring.oldest("meter.energy")
    assert bench.ring.dropped_until == oldest - timedelta(minutes=1)
    found = rows(catch_up(bench))
    starts = [start for start, _, _ in found]
    assert starts[0] - oldest < timedelta(minutes=15)  # nothing is lost that the ring still holds
    assert starts == [starts[0] + timedelta(minutes=15 * n) for n in range(len(starts))]
    assert starts[-1] == NOON + OUTAGE - timedelta(minutes=15)
    assert {payload.value for *_, payload in found} == {150.0}


def test_polls_are_not_starved_by_late_reports(benches, household, store, request_for):
    bench = benches(household, store=store)
    bench.ring.add([Reading("meter.energy", NOON, 0.0)])
    live_through(bench, request_for("TELEMETRY_USAGE", "home/energy", step_s=300, back_s=300), timedelta(hours=6))
    kinds = []
    while (message := bench.next()) is not None:
        kinds.append(type(message).__name__)
        bench.now += timedelta(seconds=15)
        bench.hear(UpdatedReport(Response()) if isinstance(message, UpdateReport) else OadrResponse(Response()))
    assert kinds.count("UpdateReport") >= 72
    longest = max(len(run) for run in " ".join(kinds).split("Poll"))
    assert longest < len(" UpdateReport") * 8


def test_a_task_is_not_moved_by_a_confirmation_that_came_too_late(benches, household, store, request_for):
    bench = benches(household, store=store)
    bench.meter(NOON, NOON + timedelta(minutes=10))
    bench.register(requests=[request_for("TELEMETRY_USAGE", "home/energy")])
    bench.now = NOON + timedelta(minutes=2)
    while not isinstance(bench.next(), UpdateReport):
        bench.hear(OadrResponse(Response()))
    other = request_for("TELEMETRY_USAGE", "home/power", start=NOON + timedelta(hours=1))
    store.put_report_task(ReportTask(other, "TELEMETRY_USAGE", other.start))  # asked anew meanwhile
    bench.hear(UpdatedReport(Response()))
    assert store.report_task("rr-1").delivered_until == other.start
