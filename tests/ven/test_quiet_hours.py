"""Quiet hours: the VTN knows them a week ahead, and no event reaches into them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import UnavailableError
from core.spans import Duration
from openadr.model.opt import OptType
from openadr.v20b.messages import CancelOpt, CreatedEvent, CreateOpt, OadrResponse, Response
from ven.household import Household, Quiet, Site
from ven.opt_policy import HouseholdOptPolicy
from ven.quiet_hours import QuietHours, are_quiet, availabilities, quiet_schedule

QUIET = OadrResponse(Response())
ZURICH = ZoneInfo("Europe/Zurich")
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""A Monday."""
NIGHT = Quiet.model_validate({"from": "22:00", "to": "06:00"})


def _hours(quiet, zone=UTC, now=NOON):
    spans = [one.span for one in availabilities([quiet], zone, now)]
    return [(span.start, span.end) for span in spans]


def test_a_night_is_quiet_from_evening_to_morning():
    (start, end), *_ = spans = _hours(NIGHT)
    assert (start, end) == (datetime(2026, 3, 2, 22, tzinfo=UTC), datetime(2026, 3, 3, 6, tzinfo=UTC))
    assert len(spans) == 8


def test_the_night_that_runs_counts_from_now():
    now = datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
    assert _hours(NIGHT, now=now)[0] == (now, datetime(2026, 3, 3, 6, tzinfo=UTC))


def test_days_are_those_on_which_it_begins():
    quiet = Quiet.model_validate({"from": "22:00", "to": "06:00", "days": ["fri", "sat"]})
    assert [start.strftime("%a") for start, _ in _hours(quiet)] == ["Fri", "Sat"]
    whole = Quiet.model_validate({"from": "00:00", "to": "00:00", "days": ["sun"]})
    assert _hours(whole) == [(datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC))]


def test_local_time_counts_also_where_clocks_change():
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)  # in Zurich the clock jumps from 2 to 3 in the night to come
    (start, end), (_, following), *_ = _hours(NIGHT, ZURICH, before)
    assert end - start == timedelta(hours=7)
    assert following.astimezone(ZURICH).hour == 6


def test_what_begins_or_ends_while_clocks_change_is_the_longer_one():
    back = datetime(2026, 10, 24, 12, tzinfo=UTC)  # in Zurich 2:30 comes twice in the night to come
    for words, hours in (({"from": "22:00", "to": "02:30"}, 5.5), ({"from": "02:30", "to": "06:00"}, 4.5)):
        start, end = _hours(Quiet.model_validate(words), ZURICH, back)[0]
        assert end - start == timedelta(hours=hours)
    skipped = datetime(2026, 3, 28, 12, tzinfo=UTC)  # and here it does not come
    for words, hours in (({"from": "22:00", "to": "02:30"}, 4.5), ({"from": "02:30", "to": "06:00"}, 3.5)):
        start, end = _hours(Quiet.model_validate(words), ZURICH, skipped)[0]
        assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize("ahead", [0, 1, 6, 9, 30, 365])
def test_any_day_has_its_quiet_hours(ahead):
    day = NOON + timedelta(days=ahead)

    def quiet(first, last, hours=NIGHT):
        return are_quiet([hours], UTC, day + timedelta(hours=first), day + timedelta(hours=last))

    assert not quiet(0, 10)
    assert quiet(0, 10.01)
    assert quiet(17.99, 20)
    assert not quiet(18, 20)
    assert quiet(-1, 40)
    assert are_quiet([NIGHT], UTC, day, None)
    weekly = Quiet.model_validate({"from": "00:00", "to": "00:00", "days": ["sun"]})
    assert are_quiet([weekly], UTC, day, day + timedelta(days=7))
    assert not are_quiet([], UTC, day, None)


def test_quiet_hours_are_found_up_to_the_end_of_the_calendar():
    for end in (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), None):
        assert are_quiet([NIGHT], ZURICH, datetime(9999, 12, 31, 23, tzinfo=UTC), end)
        assert are_quiet([NIGHT], ZURICH, datetime(1, 1, 1, tzinfo=UTC), end)
        assert are_quiet([NIGHT], None, datetime(1, 1, 2, tzinfo=UTC), end)


@pytest.mark.parametrize(
    "entry",
    [
        {"from": "24:00", "to": "06:00"},
        {"from": "22", "to": "06:00"},
        {"from": "22:00", "to": "06:00", "days": ["fry"]},
        {"from": "22:00", "to": "06:00", "days": []},
    ],
)
def test_what_is_no_time_is_refused(entry):
    with pytest.raises(ValueError, match=r"from|days"):
        Quiet.model_validate(entry)


def test_a_zone_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        Site(time_zone="Mars/Olympus")
    with pytest.raises(ValueError, match="no time zone"):
        Site(time_zone="../../etc/passwd")


@pytest.fixture
def home(household):
    return household.model_copy(update={"quiet": (NIGHT,), "site": Site(time_zone="UTC")})


def _kept(home, bench):
    return QuietHours(home, bench.engine, bench.store)


def _said(bench, kind):
    return [message for message in _all(bench) if isinstance(message, kind)]


def _all(bench):
    return [bench.store.waiting(seq).message for seq in bench.store.waiting_seqs()]


def test_the_vtn_is_told_once_and_again_before_it_knows_no_more(home, bench):
    keeper = _kept(home, bench)
    assert keeper.keep(bench.now) is None, "nobody can be told yet"
    bench.register()
    assert keeper.keep(bench.now) == []
    (first,) = _said(bench, CreateOpt)
    assert (first.opt.opt_type, first.opt.event_id, len(first.opt.availability)) == (OptType.OUT, None, 8)
    assert quiet_schedule(bench.store) == first.opt.opt_id
    assert keeper.keep(bench.now + timedelta(days=5)) is None
    assert _kept(home, bench).keep(bench.now + timedelta(days=5)) is None, "nor after a restart"
    assert keeper.keep(bench.now + timedelta(days=7)) == []
    assert len(_said(bench, CreateOpt)) == 2
    assert [message.opt_id for message in _said(bench, CancelOpt)] == [first.opt.opt_id]


def test_what_a_wrong_clock_told_is_told_anew(home, bench):
    bench.register()
    keeper = _kept(home, bench)
    keeper.keep(bench.now + timedelta(days=365))
    assert keeper.keep(bench.now + timedelta(days=365) - timedelta(minutes=30)) is None
    assert keeper.keep(bench.now) == []
    (opt,) = bench.store.opts()
    assert opt.availability[0].start < bench.now + timedelta(days=1)


def test_a_disk_that_takes_the_schedule_and_not_the_note_of_it_takes_neither(home, bench, monkeypatch):
    bench.register()

    def full(*_):
        raise UnavailableError("full")

    with monkeypatch.context() as patched:
        patched.setattr(bench.store, "set_fact", full)
        with pytest.raises(UnavailableError):
            _kept(home, bench).keep(bench.now)
    assert bench.store.opts() == []
    assert _said(bench, CreateOpt) == []
    assert _kept(home, bench).keep(bench.now) == []


def test_other_hours_take_the_place_of_those_before_and_none_end_them(home, bench):
    bench.register()
    _kept(home, bench).keep(bench.now)
    other = home.model_copy(update={"quiet": (Quiet.model_validate({"from": "20:00", "to": "21:00"}),)})
    assert _kept(other, bench).keep(bench.now) == []
    assert len(bench.store.opts()) == 1
    assert bench.store.opts()[0].availability[0].duration == Duration.of(hours=1)
    none = home.model_copy(update={"quiet": ()})
    assert _kept(none, bench).keep(bench.now) == []
    assert bench.store.opts() == []
    assert _kept(none, bench).keep(bench.now) is None


def test_another_registration_is_told_anew(home, bench):
    bench.register()
    keeper = _kept(home, bench)
    keeper.keep(bench.now)
    registration = bench.store.registration()
    assert keeper.keep(bench.now) is None
    told = bench.store.fact("quiet hours")
    bench.store.set_fact("quiet hours", told | {"registration": "another"})
    assert keeper.keep(bench.now) == []
    assert bench.store.fact("quiet hours")["registration"] == registration.registration_id
    assert _said(bench, CancelOpt) == [], "what the VTN forgot is not cancelled"


def test_a_schedule_that_people_ended_is_no_obstacle(home, bench):
    bench.register()
    keeper = _kept(home, bench)
    keeper.keep(bench.now)
    bench.engine.cancel_opt(quiet_schedule(bench.store))
    assert keeper.keep(bench.now + timedelta(days=7)) == []


def test_an_event_in_quiet_hours_is_opted_out_of(home, bench, event):
    bench.register()
    _kept(home, bench).keep(bench.now)
    while not isinstance(bench.next(), CreateOpt):
        bench.hear(QUIET)
    bench.hear(QUIET)
    bench.deliver(event("night", start=bench.now.replace(hour=23)), event("day", start=bench.now + timedelta(hours=2)))
    answer = bench.exchange(CreatedEvent, QUIET)
    assert {one.event_id: one.opt_type for one in answer.event_responses} == {"night": OptType.OUT, "day": OptType.IN}


def test_an_event_beyond_the_schedule_is_opted_out_of_by_its_own_time(home, bench, event):
    policy = HouseholdOptPolicy(home)

    def opt(hour, **more):
        start = bench.now.replace(hour=hour) + timedelta(days=30)
        return policy.judge(event("far", start=start, **more), "ven-1")

    assert opt(20).opt is OptType.IN
    assert (opt(23).opt, opt(23).reason, opt(23).refusal) == (OptType.OUT, "quiet hours", None)
    assert opt(20, period={"start_after": Duration.of(minutes=61)}).opt is OptType.OUT, "it may begin an hour later"


def test_what_people_chose_of_an_event_outlasts_the_next_schedule(home, bench, event):
    bench.household = home
    bench.register()
    keeper = _kept(home, bench)
    keeper.keep(bench.now)
    night = event("night", start=bench.now.replace(hour=23) + timedelta(days=7))
    bench.deliver(night)
    bench.engine.opt("night", OptType.IN, "participating", bench.now)
    assert keeper.keep(bench.now + timedelta(days=7)) == []
    assert bench.store.event("night").opt is OptType.IN


def test_a_household_file_has_quiet_hours():
    entry = {"version": 1, "name": "h", "identity": "i", "state": "s", "quiet": [{"from": "22:00", "to": "06:00"}]}
    (quiet,) = Household.model_validate(entry).quiet
    assert str(quiet) == "22:00 to 06:00"
    assert str(Quiet.model_validate({"from": "00:00", "to": "00:00", "days": ["sun"]})) == "all day (sun)"
