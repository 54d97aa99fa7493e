"""Turns are kept although homes differ in luck, and reliability is learnt from it."""

from dataclasses import replace

import numpy as np
import pytest

from aggregator.flexibility.reliability import learnt
from aggregator.selection import Ask, select
from support.fleets import alike

HOMES, DAYS = 30, 40


def months(seed: int, wanted: int) -> tuple[np.ndarray, list[list[bool]]]:
    """Call `wanted` kW of alike homes each day, each of which refuses every fifth time; return calls and outcomes."""
    rng = np.random.default_rng(seed)
    fleet = alike(HOMES, price=np.full(HOMES, 0.2))
    calls, last = np.zeros(HOMES, np.int64), np.zeros(HOMES, np.int64)
    seen: list[list[bool]] = [[] for _ in range(HOMES)]
    for day in range(1, DAYS + 1):
        chances = np.array([learnt(one[:30]) for one in seen])
        known = replace(fleet, reliability=chances, calls=calls.copy(), last_call_s=last.copy())
        choice = select(known, Ask(np.full(4, wanted * 1000.0)), seed=day)
        stands = rng.random(HOMES) > 0.2
        lost = sum(not stands[home] for home in choice.called)
        called = [*choice.called, *choice.reserve[:lost]]
        for home in called:
            seen[home].insert(0, bool(stands[home]))
        calls[called] += 1
        last[called] = day
    return calls, seen


@pytest.mark.parametrize("wanted", [3, 8, 15])
@pytest.mark.parametrize("seed", range(4))
def test_alike_homes_that_refuse_a_fifth_of_the_calls_are_called_alike(seed: int, wanted: int):
    calls, _ = months(seed, wanted)
    assert calls.sum() > DAYS * wanted
    assert np.ptp(calls) <= 3


def test_who_failed_once_is_asked_again():
    """Also if it failed the first time, and others never did."""
    fleet = alike(10, reliability=np.array([learnt([False]), *[learnt([True] * 10)] * 9]))
    fleet.last_call_s[:] = 1
    fleet.last_call_s[0] = 0
    assert 0 in select(fleet, Ask(np.full(4, 3600.0))).called


def test_who_fails_as_often_as_not_comes_later_but_not_too_often():
    chances = np.array([0.3] * 5 + [0.9] * 5)
    waits = select(alike(10, reliability=chances), Ask(np.full(4, 2500.0)))
    assert set(waits.called) == {5, 6, 7}
    calls = np.array([0] * 5 + [2] * 5)
    turn = select(alike(10, reliability=chances, calls=calls, last_call_s=calls), Ask(np.full(4, 600.0)))
    assert set(turn.called) <= set(range(5))
