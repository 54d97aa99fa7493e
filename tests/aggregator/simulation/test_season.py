"""The promise on delivery, kept against homes that follow a model of their own (`support.fleet_world`)."""

import sys

import numpy as np
import pytest

from support.fleet_world import Habits, Result, World, season


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")  # seen with `pytest -rP`


def table(name: str, results: list[Result], world: World) -> str:
    ratios = np.array([result.ratio for result in results])
    kept = np.mean((ratios >= 1.0) & (ratios <= 1.05))

    def mean(field: str) -> float:
        return float(np.mean([getattr(result, field) for result in results]))

    return (
        f"{name:22} {len(results):4} events  within -0/+5 %: {kept:6.1%}  ratio {ratios.min():.3f} "
        f"{np.median(ratios):.3f} {ratios.max():.3f}  called {mean('called'):4.0f} + {mean('replaced'):3.0f} "
        f"released {mean('released'):3.0f} opted out {mean('opted_out'):3.0f} broken limits {world.violations()}"
    )


def kept(results: list[Result]) -> float:
    return float(np.mean([1.0 <= result.ratio <= 1.05 for result in results]))


@pytest.fixture(scope="module")
def whole_season() -> tuple[World, list[Result]]:
    return season(seed=11, events=100, share=1.0)


def test_delivered_is_within_five_percent_above_the_accepted_power(whole_season):
    world, results = whole_season
    tell(table("accepts the whole offer", results, world))
    assert kept(results) >= 0.95
    assert np.mean([result.opted_out / (result.called + result.replaced) for result in results]) > 0.12


def test_no_limit_is_broken_although_limits_bite(whole_season):
    world, _ = whole_season
    most = max(len(calls) for calls in world.log)
    assert most == world.habits.per_season
    assert world.violations() == 0


def test_the_loop_does_not_flap(whole_season):
    _, results = whole_season
    assert np.mean([result.reversals for result in results]) < 4
    assert np.mean([result.released / (result.called + result.replaced) for result in results]) < 0.1


def test_without_the_loop_the_promise_is_not_kept():
    world, results = season(seed=11, events=15, share=1.0, corrected=False)
    tell(table("without the loop", results, world))
    assert kept(results) < 0.6


def test_small_orders_keep_the_promise_and_the_burden_is_shared():
    world, results = season(seed=12, events=25, share=0.4, habits=Habits(homes=400))
    tell(table("accepts 0.4, 400 homes", results, world))
    assert kept(results) >= 0.9
    assert world.violations() == 0
