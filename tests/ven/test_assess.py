"""The gateway's own assessment: what is computed, in which process, what is kept, and what is reported."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from core.clock import ManualClock
from core.errors import InvalidError
from core.points import Reading
from metrics import DEFAULT_PRESET
from openadr.model.assessment import REPORT_NAME
from openadr.model.opt import OptType
from openadr.model.report import BAD, ESTIMATED, check_offers
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import RegisterReport, UpdateReport
from ven import assess, assessment
from ven.assess import net
from ven.assessment import Assessment, Assessments, Interval, Job, OfResource, Outcome
from ven.assessment_report import AssessmentReports
from ven.assessment_view import as_lines, assessment_fields, status_lines
from ven.assessor import Assessor
from ven.household import Assess
from ven.quarantine import Quarantine
from ven.readings_store import Ring
from ven.reports import Metered, Reporter, ReportPlan
from ven.store import Store
from ven.vtn_state import KnownEvent

DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday
METERED = Metered("home", "meter.energy")


def register(ring, until, days, *, power_w=lambda _: 1000.0, point="meter.energy", leave_out=()):
    """Store a register of quarters of an hour; `power_w` says what runs after each, `leave_out` which are not read."""
    when, total_wh, readings = until - days * DAY, 0.0, []
    while when <= until:
        if when not in leave_out:
            readings.append(Reading(point, when, total_wh))
        total_wh += power_w(when) / 4
        when += QUARTER
    ring.add(readings)


class Home:
    """A gateway's store, and its assessor without the gateway."""

    def __init__(self, household, folder, **more):
        self.clock = ManualClock(NOON)
        (folder / "state").mkdir(exist_ok=True)
        self.household = household.model_copy(update={"state": folder / "state"})
        self.store = Store(self.household.state / "gateway.db")
        self.ring = Ring(self.store, 1_000_000)
        self.kept = Assessments(self.store)
        self.news = []
        self.assessor = Assessor(
            self.household,
            [METERED],
            self.store,
            Quarantine(self.store),
            self.clock,
            flush=lambda: None,
            ready=lambda: True,
            renewed=lambda: self.news.append(1),
            **more,
        )

    def knows(self, event, opt=OptType.IN, **more):
        self.store.put_event(KnownEvent(event, "rq", opt, **more))

    async def looked(self, **later):
        """Look as late as that after the end of the hour that begins now; return the assessments, newest first."""
        self.clock.advance(timedelta(hours=1, **later))
        following = await self.assessor.look(self.clock.now())
        assert following > self.clock.now()
        return self.kept.newest(10)


@pytest.fixture
def home(household, tmp_path):
    home = Home(household, tmp_path)
    yield home
    home.store.close()


@pytest.fixture
def homes(household, tmp_path):
    """Return a maker of homes whose computation is another command."""
    made = []

    def make(**more):
        made.append(Home(household, tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


def shed(when):
    """A kilowatt, and nothing in the hour from noon on the day of the event."""
    return 0.0 if NOON <= when < NOON + timedelta(hours=1) else 1000.0


# -- from the event to what is kept


async def test_an_event_is_assessed_after_its_end_and_once(home, event):
    register(home.ring, NOON + 2 * QUARTER * 4, 20, power_w=shed)
    home.knows(event(start=NOON))
    assert await home.looked(minutes=14) == []
    (found,) = await home.looked(minutes=-58)
    (of_home,) = found.outcome.resources
    assert found.outcome.method.startswith("10of10/")
    assert (of_home.baseline_wh, of_home.delta_wh) == (pytest.approx(1000.0), pytest.approx(-1000.0))
    assert [one.start for one in of_home.intervals] == [NOON + QUARTER * n for n in range(4)]
    again = await home.looked(minutes=10)
    assert again == [found]
    assert home.news == [1]


async def test_what_is_assessed_survives_a_restart(home, event):
    register(home.ring, NOON + DAY / 24 * 2, 20, power_w=shed)
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    home.store.close()
    home.store = Store(home.household.state / "gateway.db")
    assert Assessments(home.store).newest(10) == [found]


async def test_who_opted_out_was_refused_or_called_off_before_the_start_is_not_assessed(home, event):
    register(home.ring, NOON + DAY / 12, 20)
    home.knows(event("out", start=NOON), OptType.OUT)
    home.knows(event("refused", start=NOON), code=460)
    home.knows(event("called off", start=NOON), stop_at=NOON - QUARTER)
    home.knows(event("a test", start=NOON, test_event="true"))
    assert await home.looked(minutes=20) == []


async def test_an_event_that_is_cut_short_counts_until_then(home, event):
    register(home.ring, NOON + DAY / 12, 20, power_w=shed)
    home.knows(event(start=NOON), stop_at=NOON + 2 * QUARTER)
    (found,) = await home.looked(minutes=20)
    assert found.outcome.resources[0].delta_wh == pytest.approx(-500.0)


async def test_a_gap_costs_only_what_it_hides(home, event):
    """The register was not read any more after half of the event."""
    register(home.ring, NOON + 2 * QUARTER, 20, power_w=shed)
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    (of_home,) = found.outcome.resources
    assert [one.delta_wh is None for one in of_home.intervals] == [False, False, True, True]
    assert of_home.delta_wh == pytest.approx(-500.0)
    assert assessment_fields(found)["resources"][0]["coverage"] == 0.5
    assert "known of 50% of it" in as_lines([assessment_fields(found)])[0]


async def test_too_few_days_are_said_and_are_no_fault(home, event):
    register(home.ring, NOON + DAY / 12, 3, power_w=shed)
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    (of_home,) = found.outcome.resources
    assert (of_home.delta_wh, found.outcome.failure) == (None, "")
    assert "eligible days" in of_home.note
    assert "not known, 10of10 needs" in as_lines([assessment_fields(found)])[0]
    assert home.store.faults() == []


async def test_days_of_other_events_tell_nothing_of_a_usual_day(home, event):
    """Without them the ten latest days would have the day before among them, on which nothing ran."""

    def power_w(when):
        return 0.0 if when >= NOON - DAY and when.hour == 12 else 1000.0

    register(home.ring, NOON + DAY / 12, 25, power_w=power_w)
    home.knows(event("yesterday", start=NOON - DAY))
    home.knows(event("today", start=NOON))
    found = {one.event_id: one.outcome.resources[0].delta_wh for one in await home.looked(minutes=20)}
    assert found == {"yesterday": pytest.approx(-1000.0), "today": pytest.approx(-1000.0)}
    made = [one.made_at for one in home.kept.newest(10)]
    assert made == sorted(set(made), reverse=True), "each is later than the one before"


async def test_what_ended_long_ago_is_left_alone(home, event):
    register(home.ring, NOON, 20)
    home.knows(event(start=NOON - 8 * DAY))
    assert await home.looked() == []


def test_the_export_is_taken_off(home):
    register(home.ring, NOON, 1)
    register(home.ring, NOON, 1, power_w=lambda _: 1500.0, point="meter.export")
    both = Metered("home", "meter.energy", export="meter.export")
    job = _job(home, resources=(both,))
    found = net(home.ring, both, NOON - timedelta(hours=1), NOON, job)
    assert list(found.values()) == [pytest.approx(-125.0)] * 4


def test_energy_over_a_gap_is_spread_evenly(home):
    gap = {NOON - QUARTER * n for n in (1, 2, 3)}
    register(home.ring, NOON, 1, leave_out=gap, power_w=lambda when: 4000.0 if when == NOON - QUARTER else 0.0)
    found = net(home.ring, METERED, NOON - timedelta(hours=1), NOON, _job(home))
    assert list(found.values()) == [pytest.approx(250.0)] * 4


def test_an_event_longer_than_days_tell_of_is_refused(home):
    with pytest.raises(InvalidError, match="too long"):
        assess.assess(_job(home, end=NOON + 8 * DAY))


def _job(home, **changes):
    fields = {
        "store": home.household.state / "gateway.db",
        "resources": (METERED,),
        "start": NOON,
        "end": NOON + timedelta(hours=1),
        "others": (),
        "told_at": None,
        "baseline": "10of10",
        "step_s": 900,
        "time_zone": "UTC",
        "connection_w": 43_470.0,
        "most_readings": 1_000_000,
    }
    return Job(**fields | changes)


# -- the process


def run(body, *, code="import ven.assess as it; it.main()"):
    return subprocess.run([sys.executable, "-c", code], input=body, capture_output=True, timeout=60, check=True).stdout


def test_the_process_says_in_its_own_words_that_numpy_is_missing(home):
    hidden = "import sys; sys.modules['numpy'] = None; import ven.assess as it; it.main()"
    outcome = json.loads(run(TypeAdapter(Job).dump_json(_job(home)), code=hidden))
    assert assessment.HOW_TO_INSTALL in outcome["failure"]


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"[" * 5000, b" " * (assessment.MOST_BYTES + 2)])
def test_the_process_answers_nonsense_with_a_failure(body):
    assert json.loads(run(body))["failure"]


def test_the_process_names_the_methods_that_there_are(home):
    outcome = json.loads(run(TypeAdapter(Job).dump_json(_job(home, baseline="11of10"))))
    assert "10of10" in outcome["failure"]


def test_a_gateway_knows_of_no_control_group(home):
    outcome = json.loads(run(TypeAdapter(Job).dump_json(_job(home, baseline="control-group"))))
    assert "of which only the VTN knows" in outcome["failure"]


def test_the_gateway_itself_never_imports_numpy():
    code = "import sys, ven.gateway, ven.cli, ven.status; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_machines_zone_is_named(monkeypatch):
    monkeypatch.setenv("TZ", ":Europe/Zurich")
    assert assess.machine_zone() == "Europe/Zurich"
    monkeypatch.delenv("TZ")
    monkeypatch.setattr(assess, "_LOCALTIME", assess.Path("/nowhere"))
    assert assess.machine_zone() == "UTC"
    for rule in ("CET-1CEST,M3.5.0,M10.5.0/3", ":/etc/localtime"):
        monkeypatch.setenv("TZ", rule)
        assert assess.machine_zone() == "UTC", "a rule has no name"


HANGS = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


async def test_a_computation_that_hangs_is_ended(homes, event, tmp_path):
    pid = tmp_path / "pid"
    home = homes(command=(sys.executable, "-c", HANGS, str(pid)), deadline_s=2.0)
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    assert "more than 2 seconds" in found.outcome.failure
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    (fault,) = home.store.faults()
    assert (fault.kind, fault.key, fault.count) == ("assessment", "evt", 1)
    assert await home.looked(minutes=20) == [found], "it is not tried again"


async def test_a_gateway_that_stops_ends_its_computation(homes, event, tmp_path):
    pid = tmp_path / "pid"
    home = homes(command=(sys.executable, "-c", HANGS, str(pid)))
    home.knows(event(start=NOON))
    home.clock.advance(timedelta(hours=2))
    looking = asyncio.create_task(home.assessor.look(home.clock.now()))
    while not pid.exists() or not pid.read_text():  # noqa: ASYNC110  another process writes it
        await asyncio.sleep(0.02)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert home.kept.newest(1) == [], "the next start has it computed"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit(3)", "(3)"),
        ("print('nonsense')", "nothing of use"),
        ('print(\'{"resources": [{"resource": "home", "intervals": [["x"]]}]}\')', "nothing of use"),
        ("import sys; sys.stdin.read(); sys.stdout.write('x' * 2_000_000)", "too much"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "without a result"),
    ],
)
async def test_a_computation_that_fails_costs_nothing_but_its_event(homes, event, code, why):
    home = homes(command=(sys.executable, "-c", code))
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    assert why in found.outcome.failure
    assert why in as_lines([assessment_fields(found)])[0]


async def test_gateways_that_share_a_turn_compute_one_after_the_other(homes, event, tmp_path):
    """The process marks its presence in a file, and fails if there is another."""
    marks = (
        "import pathlib, sys, time; mark = pathlib.Path(sys.argv[1]); mark.touch(exist_ok=False);"
        " time.sleep(0.3); mark.unlink(); print('{}')"
    )
    command, turn = (sys.executable, "-c", marks, str(tmp_path / "mark")), asyncio.Lock()
    home = homes(command=command, turn=turn)
    home.knows(event(start=NOON))
    home.clock.advance(timedelta(hours=2))
    await asyncio.gather(home.assessor.look(home.clock.now()), home.assessor.look(home.clock.now()))
    assert [one.outcome.failure for one in home.kept.newest(9)] == [""]
    assert home.news == [1, 1], "both have computed"


async def test_a_program_that_is_not_there_is_said(homes, event):
    home = homes(command=("/nowhere/python",))
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    assert "/nowhere/python" in found.outcome.failure


async def test_without_numpy_nothing_is_started(homes, event, monkeypatch):
    monkeypatch.setattr("ven.assessor.is_installed", lambda: False)
    home = homes(command=("/nowhere/python",))
    assert not home.assessor.works
    await asyncio.wait_for(home.assessor.run(), 5)
    words = status_lines({"enabled": True, "installed": False, "install": assessment.HOW_TO_INSTALL, "last": None})
    assert assessment.HOW_TO_INSTALL in words[0]
    assert status_lines({"enabled": False, "installed": False}) == []


def test_who_does_not_want_it_has_it_not(household, tmp_path):
    home = Home(household.model_copy(update={"assess": Assess(enabled=False)}), tmp_path)
    assert not home.assessor.works
    home.store.close()


@pytest.mark.parametrize("step", ["PT7M", "PT30S", "PT2H"])
def test_a_step_divides_an_hour(variant, step):
    with pytest.raises(ValueError, match="divisor of an hour"):
        variant(assess={"step": step})


# -- what is kept


def made(number, *, values=((100.0, 40.0),), event_id=None, resource="home", **outcome):
    start = NOON + number * DAY
    intervals = tuple(Interval(start + QUARTER * n, *pair) for n, pair in enumerate(values))
    outcome = Outcome("10of10/2", (OfResource(resource, intervals, "applied"),)) if not outcome else Outcome(**outcome)
    return Assessment(event_id or f"evt {number}", start, start + QUARTER * len(values), start + DAY / 24, 900, outcome)


@pytest.fixture
def kept():
    store = Store(None)
    yield Assessments(store)
    store.close()


def test_the_oldest_go_first(kept, monkeypatch):
    monkeypatch.setattr(assessment, "_KEPT", 3)
    for number in range(5):
        kept.put(made(number))
    assert [one.event_id for one in kept.newest(10)] == ["evt 4", "evt 3", "evt 2"]
    assert kept.newest_at() == made(4).made_at
    assert [one.event_id for one in kept.after(made(2).made_at)] == ["evt 3", "evt 4"]
    assert not kept.has("evt 1")
    assert kept.has("evt 2")


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '{"event_id": 1}', '{"outcome": {"resources": [{"intervals": [{}]}]}}', "[" * 9000]
)
def test_what_cannot_be_read_is_left_out_and_let_go(kept, body):
    kept.put(made(1))
    with kept._store.transaction() as db:
        db.execute("INSERT INTO assessments VALUES ('bad', 0, 0, ?, ?)", (2**61, body))
    assert [one.event_id for one in kept.after(NOON)] == ["evt 1"]
    kept.drop_unreadable(NOON)
    assert not kept.has("bad")
    (fault,) = kept._store.faults()
    assert (fault.kind, fault.key) == ("unreadable assessment", "bad")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_energy_is_a_finite_number(number):
    with pytest.raises(InvalidError):
        Interval(NOON, number, 1.0)


def test_what_belongs_to_a_vtn_goes_with_it(kept):
    kept.put(made(1))
    kept._store.erase_relation()
    assert kept.newest(1) == []


def test_words_of_others_do_not_steer_a_terminal():
    (line,) = as_lines([assessment_fields(made(1, event_id="e\x1b[2J\nx", failure="a\x07b", resources=()))])
    assert line.isprintable()


# -- the report


@pytest.fixture
def reports(kept):
    return AssessmentReports(kept, [METERED, Metered("nothing")], Assess())


def test_the_offer_is_of_what_is_metered_and_sound(reports, kept):
    offer = reports.offer(NOON)
    check_offers([offer])
    assert [(one.r_id, one.report_type, one.reading_type) for one in offer.descriptions] == [
        ("home/baseline/10of10", "baseline", "Derived"),
        ("home/deltaUsage/10of10", "deltaUsage", "Derived"),
    ]
    message = RegisterReport("rq", (offer,), "ven-1")
    assert decode(encode(message), strict=True).offers[0].descriptions == offer.descriptions
    assert AssessmentReports(kept, [], Assess()).offer(NOON) is None


def test_each_assessment_is_sent_once_as_soon_as_it_is_there(reports, kept, request_for):
    reporter = Reporter(Ring(kept._store, 1000), [METERED], ReportPlan(), reports)
    request = request_for(
        REPORT_NAME, "home/baseline/10of10", "home/deltaUsage/10of10", step_s=0, back_s=86_400, start=NOON
    )
    task = reporter.begin(request, REPORT_NAME, NOON)
    assert reporter.due_at(task, NOON) == NOON + DAY
    kept.put(made(0, values=((100.0, 40.0), (None, 30.0))))
    assert reporter.due_at(task, NOON) == NOON
    sampled = reporter.sample(task, NOON + DAY / 12)
    said = [
        (each.start, [(one.r_id, one.value, one.quality) for one in each.payloads]) for each in sampled.report.intervals
    ]
    assert said == [
        (NOON, [("home/baseline/10of10", 100.0, ESTIMATED), ("home/deltaUsage/10of10", -60.0, ESTIMATED)]),
        (NOON + QUARTER, [("home/baseline/10of10", 0.0, BAD), ("home/deltaUsage/10of10", 0.0, BAD)]),
    ]
    decode(encode(UpdateReport("rq", (sampled.report,), "ven-1")), strict=True)
    assert reporter.due_at(task, NOON) == NOON, "the VTN has not confirmed it"
    after = sampled.after
    assert reporter.due_at(after, NOON + DAY / 12) == NOON + DAY + DAY / 12
    kept.put(made(1))
    assert len(reporter.sample(after, NOON + 2 * DAY).report.intervals) == 1


def test_without_news_the_day_says_that_there_are_none(reports, request_for):
    request = request_for(REPORT_NAME, "home/deltaUsage/10of10", step_s=0, back_s=86_400)
    reporter = Reporter(Ring(Store(None), 1000), [METERED], ReportPlan(), reports)
    sampled = reporter.sample(reporter.begin(request, REPORT_NAME, NOON), NOON + DAY)
    (one,) = sampled.report.intervals
    assert (one.start, one.payloads[0].quality) == (NOON + DAY - QUARTER, BAD)
    assert sampled.after.delivered_until == NOON + DAY


def test_one_report_at_once_has_the_newest(reports, kept, request_for):
    kept.put(made(-3))
    kept.put(made(-2, values=((80.0, 70.0),)))
    request = request_for(REPORT_NAME, "home/deltaUsage/10of10", step_s=0, back_s=0, start=None)
    reporter = Reporter(Ring(kept._store, 1000), [METERED], ReportPlan(), reports)
    sampled = reporter.sample(reporter.begin(request, REPORT_NAME, NOON), NOON)
    assert [one.value for each in sampled.report.intervals for one in each.payloads] == [-10.0]
    assert sampled.after is None


def test_what_another_method_said_is_not_sent_as_if_it_were_this_one_s(reports, kept, request_for):
    kept.put(replace(made(0), outcome=replace(made(0).outcome, method="20of20/1")))
    request = request_for(REPORT_NAME, "home/deltaUsage/10of10", step_s=0, back_s=0, start=None)
    sampled = reports.sample(reports_begin(reports, kept, request), NOON)
    assert [one.quality for each in sampled.report.intervals for one in each.payloads] == [BAD]


def test_the_default_method_is_the_programmes_default():
    assert Assess().baseline == DEFAULT_PRESET


def test_a_request_that_is_over_ends(reports, kept, request_for):
    kept.put(made(0))
    request = request_for(REPORT_NAME, "home/deltaUsage/10of10", step_s=0, back_s=3600, duration_s=7200)
    reporter = Reporter(Ring(kept._store, 1000), [METERED], ReportPlan(), reports)
    task = reporter.begin(request, REPORT_NAME, NOON)
    assert reporter.sample(task, NOON + DAY / 12).after is None


def test_long_absences_are_made_up_for_in_several_reports(reports, kept, request_for):
    for number in range(6):
        kept.put(made(4 * number, values=((100.0, 50.0),) * 200))
    request = request_for(
        REPORT_NAME, "home/baseline/10of10", "home/deltaUsage/10of10", step_s=0, back_s=86_400, start=NOON
    )
    task, sizes = reports_begin(reports, kept, request), []
    while task is not None and reports.due_at(task, NOON) == NOON:
        sampled = reports.sample(task, NOON)
        sizes.append(len(sampled.report.intervals))
        task = sampled.after
    assert sizes == [400, 400, 400]


def reports_begin(reports, kept, request):
    return Reporter(Ring(kept._store, 1000), [METERED], ReportPlan(), reports).begin(request, REPORT_NAME, NOON)


# -- what a store may hold


@pytest.mark.parametrize(
    "row",
    [
        ("meter.energy", 1_772_600_000_000_000, None, "a lot", "good"),
        ("meter.energy", 1_772_600_000_000_000, None, 1.0, "excellent"),
        ("meter.energy", "yesterday", None, 1.0, "good"),
        ("meter.energy", 2**62, None, 1.0, "good"),
        ("meter.energy", 1_772_600_000_000_000, None, float("inf"), "good"),
        ("meter.energy", 1_772_600_000_000_000, None, -1e300, "good"),
    ],
)
async def test_a_reading_that_is_none_costs_at_most_its_event(home, event, row):
    register(home.ring, NOON + DAY / 12, 20, power_w=shed)
    with home.store.transaction() as db:
        db.execute("INSERT INTO readings VALUES (?, ?, ?, ?, ?)", row)
    home.knows(event(start=NOON))
    (found,) = await home.looked(minutes=20)
    known = [one.delta_wh for one in found.outcome.resources]
    assert found.outcome.failure or known == [pytest.approx(-1000.0)], found.outcome


async def test_an_event_that_cannot_be_read_leaves_the_others_alone(home, event):
    register(home.ring, NOON + DAY / 12, 20, power_w=shed)
    home.knows(event(start=NOON))
    with home.store.transaction() as db:
        db.execute("INSERT INTO events VALUES ('bad', '{}', NULL), ('worse', '[[[', NULL)")
    assert [one.event_id for one in await home.looked(minutes=20)] == ["evt"]


def test_a_store_that_is_none_is_said(home, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 1000)
    outcome = json.loads(run(TypeAdapter(Job).dump_json(_job(home, store=tmp_path / "broken.db"))))
    assert "broken.db" in outcome["failure"]
