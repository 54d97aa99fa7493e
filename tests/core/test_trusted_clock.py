"""A clock that fell behind is doubted, for a while."""

from datetime import UTC, datetime, timedelta

from core.clock import ManualClock, StepWatch
from core.trusted_clock import PATIENCE, TrustedClock

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HALF_HOUR = timedelta(minutes=30)
MINUTE = timedelta(minutes=1)


def test_a_time_before_the_last_stored_one_is_doubted_until_it_is_right() -> None:
    host = ManualClock(NOON - HALF_HOUR)
    clock = TrustedClock(host)
    assert clock.doubt is None
    clock.resume(NOON)
    assert "11:30 UTC" in str(clock.doubt)
    host.advance(MINUTE)
    assert clock.now() == NOON + MINUTE  # the least that it can be
    host.set(NOON + 3 * MINUTE)
    assert (clock.doubt, clock.now()) == (None, NOON + 3 * MINUTE)


def test_a_clock_that_stays_behind_is_believed_in_the_end() -> None:
    host = ManualClock(NOON)
    clock = TrustedClock(host)
    host.set(NOON - HALF_HOUR)
    assert clock.now() == NOON
    host.advance(PATIENCE - MINUTE)
    assert clock.doubt is not None
    host.advance(MINUTE)
    assert (clock.now(), clock.doubt) == (NOON - HALF_HOUR + PATIENCE, None)


def test_a_synchronised_clock_is_believed_at_once() -> None:
    host = ManualClock(NOON)
    clock = TrustedClock(host, lambda: True)
    host.set(NOON - HALF_HOUR)
    assert (clock.now(), clock.doubt) == (NOON - HALF_HOUR, None)


def test_a_host_that_has_just_started_is_waited_for_until_it_is_synchronised() -> None:
    answers = [False]
    host = ManualClock(NOON)
    clock = TrustedClock(host, lambda: answers[-1], just_booted=True)
    assert "just started" in str(clock.doubt)
    answers.append(True)
    assert clock.doubt is None
    late = TrustedClock(host, lambda: False, just_booted=True)
    host.advance(PATIENCE)
    assert late.doubt is None  # there may be no network for days


def test_a_step_is_seen_in_both_directions_and_time_that_passes_is_none() -> None:
    host = ManualClock(NOON)
    watch = StepWatch(host)
    host.advance(HALF_HOUR)
    assert not watch.step()
    host.set(NOON)
    assert watch.step() == -HALF_HOUR
    assert not watch.step()
    host.set(NOON + HALF_HOUR)
    assert watch.step() == HALF_HOUR


async def test_sleeping_goes_by_the_doubtful_time() -> None:
    host = ManualClock(NOON - HALF_HOUR)
    clock = TrustedClock(host)
    clock.resume(NOON)
    await clock.sleep_until(NOON)  # it is past already
