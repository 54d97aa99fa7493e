"""How fast the engine may speak: back-off for each message, a limit for all of them (TR-11)."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from core.spans import Duration
from ven.engine.pacing import Budget, Retries
from ven.engine.polling import PollTimer, bounded_period

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Stopwatch:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def watch():
    return Stopwatch()


@pytest.fixture
def retries(watch):
    return Retries(10.0, Random(1), watch)  # noqa: S311  a test repeats itself


def test_the_back_off_doubles_up_to_its_end_and_begins_anew(retries, watch):
    for wanted in (1, 2, 4, 8, 10, 10):
        assert retries.ready("poll")
        retries.failed("poll")
        assert 0.9 * wanted <= retries.left_s("poll") <= 1.1 * wanted  # TR-11
        watch.now_s += 1.1 * wanted
    retries.over("poll")
    retries.failed("poll")
    assert retries.left_s("poll") <= 1.1


def test_a_back_off_is_each_messages_own(retries, watch):
    for _ in range(5):
        retries.failed("poll")
    assert retries.ready("answer")
    retries.over("answer")  # another message got through
    assert retries.left_s("poll") >= 9
    retries.failed("answer")
    assert retries.left_s("answer") <= 1.1
    assert retries.soonest_s() == retries.left_s("answer")


def test_what_the_server_asks_for_is_waited_at_least(retries):
    retries.failed("poll", least_s=120)
    assert retries.left_s("poll") == 120


def test_a_thousand_old_failures_are_not_remembered(retries, watch):
    for number in range(5000):
        retries.failed(number)
        watch.now_s += 10
    assert len(retries._waits) < 1500


def test_a_burst_may_go_at_once_and_then_a_message_a_second():
    budget, now, sent = Budget(5), NOON, []
    while now < NOON + timedelta(seconds=60):
        while not budget.wait(now):
            budget.spend()
            sent.append(now)
        now += timedelta(milliseconds=100)
    assert sent.count(NOON) == 5
    assert len(sent) <= 5 + 60
    assert len(sent) >= 60


def test_a_clock_that_is_set_back_holds_nothing_back():
    budget = Budget(1)
    budget.wait(NOON)
    budget.spend()
    assert budget.wait(NOON - timedelta(minutes=30)) == timedelta(seconds=1)
    assert not budget.wait(NOON - timedelta(minutes=30) + timedelta(seconds=1))
    timer = PollTimer(0.0, Random(1))  # noqa: S311  a test repeats itself
    timer.nothing(NOON, timedelta(minutes=1))
    assert not timer.due(NOON + timedelta(seconds=59))
    assert timer.due(NOON - timedelta(minutes=30))


@pytest.mark.parametrize(
    ("asked", "period"),
    [
        ("PT10S", timedelta(seconds=10)),
        ("P10000Y", timedelta(hours=1)),
        ("P9999Y", timedelta(hours=1)),
        ("P100Y", timedelta(hours=1)),
        ("P1M", timedelta(hours=1)),
        ("PT0S", timedelta(seconds=1)),
        ("-PT5S", timedelta(seconds=1)),
        ("-P10000Y", timedelta(seconds=1)),
    ],
)
def test_a_poll_frequency_is_kept_within_the_households_bounds(asked, period):
    shortest, longest = Duration.of(seconds=1), Duration.of(hours=1)
    assert bounded_period(Duration.parse(asked), shortest, longest, NOON) == period
