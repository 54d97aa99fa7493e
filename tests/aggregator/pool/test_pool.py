from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from aggregator.flexibility import pool as pooling
from aggregator.flexibility.fleet import Reason
from aggregator.flexibility.pool import SOLD_SHARE, STEPS, needed, pool
from aggregator.flexibility.response import common_factor, mean_w, spread
from core.errors import InvalidError
from support.fleets import alike, fleets


@pytest.mark.parametrize(
    ("rho", "homes"), [(0.0, 10_083), (0.001, 10_281), (0.01, 10_901), (0.05, 12_256), (0.1, 13_517)]
)
def test_homes_needed_for_eight_megawatts(rho: float, homes: int):
    assert needed(8e6, 1000.0, 0.8, rho=rho, confidence=0.95) == homes


def test_needed_at_the_edges():
    assert needed(0.0, 1000.0, 0.8) == 0
    assert needed(5000.0, 1000.0, 1.0) == 5
    assert needed(8e6, 1000.0, 0.8, confidence=0.5) == 10_000
    with pytest.raises(InvalidError, match="common factor"):
        needed(8e6, 1000.0, 0.2, rho=0.5, confidence=0.99)
    for wrong in ({"reliability": 0.0}, {"power_w": 0.0}, {"target_w": -1.0}):
        with pytest.raises(InvalidError):
            needed(**{"target_w": 1.0, "power_w": 1.0, "reliability": 0.8} | wrong)


def test_a_pool_of_the_needed_size_delivers_as_promised():
    """The closed form and the Monte Carlo are independent. With a common factor bad days are worse than normal ones."""
    for rho, error in ((0.0, 0.003), (0.01, 0.01), (0.05, 0.04)):
        homes = needed(8e5, 1000.0, 0.8, rho=rho, confidence=0.95)
        found = pool(alike(homes, 2), rho=rho, draws=4000)
        assert found.at(0.95) == pytest.approx(8e5, rel=error)


@pytest.mark.parametrize("reliability", [0.5, 0.8, 0.97])
def test_responses_have_the_correlation_that_was_asked_for(reliability: float):
    rng = np.random.default_rng(3)
    chances = common_factor(20_000, 0.05, rng).chances(np.array([reliability]))[:, 0]
    responds = rng.random((20_000, 2)) < chances[:, None]
    assert responds.mean() == pytest.approx(reliability, abs=0.01)
    assert chances.var() / (reliability * (1 - reliability)) == pytest.approx(0.05, rel=0.1)


def test_the_mean_of_a_response_is_that_of_its_distribution():
    rng = np.random.default_rng(1)
    quantiles = np.array([[300.0]]), np.array([[1000.0]]), np.array([[1200.0]])
    parts = spread(*quantiles)
    z = rng.standard_normal(400_000)
    power = parts.middle_w + parts.above_w * np.maximum(z, 0) - parts.below_w * np.maximum(-z, 0)
    assert np.quantile(power, [0.1, 0.5, 0.9]) == pytest.approx([300, 1000, 1200], rel=0.01)
    assert mean_w(*quantiles)[0, 0] == pytest.approx(power.mean(), rel=0.005)


def test_moments_of_classes_agree_with_drawing_every_home(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(5)
    p50 = rng.gamma(2.0, 400.0, (600, 3))
    fleet = alike(600, 3, p10_w=p50 * 0.4, p50_w=p50, p90_w=p50 * 1.2, reliability=rng.uniform(0.5, 0.95, 600))
    by_moments = pool(fleet, draws=8000)
    monkeypatch.setattr(pooling, "SMALL", 1000)
    by_home = pool(fleet, draws=8000)
    assert by_moments.p10_w == pytest.approx(by_home.p10_w, rel=0.01)
    assert by_moments.p50_w == pytest.approx(by_home.p50_w, rel=0.01)
    assert by_moments.p90_w == pytest.approx(by_home.p90_w, rel=0.01)
    assert by_moments.expected_w == pytest.approx(by_home.draws_w.mean(axis=0), rel=0.01)


def test_a_common_factor_costs_what_is_offered():
    offers = [pool(alike(1000), rho=rho).at(0.9).mean() for rho in (0.0, 0.03, 0.1)]
    assert offers == sorted(offers, reverse=True)
    assert offers[0] > 1.05 * offers[2]


def test_waterfall_tells_where_the_power_goes():
    barred = [Reason.OFFLINE, Reason.STALE, Reason.NO_POTENTIAL, Reason.OUTSIDE_WINDOW, Reason.RESTING]
    fleet = alike(10, barred=[*barred, Reason.OPTED_OUT, None, None, None, None])
    fleet.calls_left[9] = 0
    found = pool(fleet)
    steps = found.waterfall
    assert tuple(step.name for step in steps) == STEPS
    assert [step.vens for step in steps] == [10, 8, 6, 4, 3, 3, 3]
    assert [step.power_w for step in steps[:6]] == pytest.approx([30_000, 24_000, 6000, 4000, 3000, 2400])
    assert steps[6].power_w == pytest.approx(SOLD_SHARE * found.at(0.9).mean())
    assert found.offer_w == pytest.approx(SOLD_SHARE * found.at(0.9))


@given(fleets())
@settings(max_examples=60)
def test_whatever_the_fleet_the_waterfall_falls_and_the_pool_is_ordered(fleet):
    found = pool(fleet, draws=200)
    powers = [step.power_w for step in found.waterfall]
    assert powers == sorted(powers, reverse=True)
    assert [step.vens for step in found.waterfall] == sorted((s.vens for s in found.waterfall), reverse=True)
    assert np.isfinite(found.draws_w).all()
    assert (found.p10_w <= found.p50_w).all()
    assert (found.p50_w <= found.p90_w).all()
    assert (found.at(0.9) <= found.expected_w).all()
    assert (found.at(0.9) >= found.at(0.99)).all()
    callable_w = np.nansum(np.where(np.isfinite(fleet.p50_w), np.maximum(fleet.nameplate_w[:, None], 0), 0), axis=0)
    assert found.at(0.9).sum() <= max(callable_w.sum(), found.expected_w.sum())


def test_the_same_arguments_give_the_same_pool():
    one, other, third = pool(alike(500), seed=4), pool(alike(500), seed=4), pool(alike(500), seed=5)
    assert np.array_equal(one.draws_w, other.draws_w)
    assert not np.array_equal(one.draws_w, third.draws_w)


def test_nobody_to_call_is_an_empty_pool():
    for fleet in (alike(0), alike(3, barred=[Reason.OFFLINE] * 3), replace(alike(2), reliability=np.zeros(2))):
        assert pool(fleet).at(0.9).tolist() == [0, 0, 0, 0]


def test_a_pool_refuses_what_means_nothing():
    for wrong in ({"rho": 1.0}, {"rho": float("nan")}, {"draws": 10}, {"draws": 10**9}):
        with pytest.raises(InvalidError):
            pool(alike(2), **wrong)
    with pytest.raises(InvalidError):
        pool(alike(2)).at(0.2)
