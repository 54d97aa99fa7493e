import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from metrics import (
    Answer,
    Direction,
    delivered,
    ordered_wh,
    participation,
    performance,
    pooled,
)

NAN = float("nan")


def test_direction_gives_delivery_its_sign():
    usual, used = np.array([100.0, 100.0, NAN]), np.array([70.0, 120.0, 5.0])
    assert np.array_equal(delivered(usual, used), [30, -20, NAN], equal_nan=True)
    assert np.array_equal(delivered(usual, used, Direction.INCREASE), [-30, 20, NAN], equal_nan=True)


def test_an_order_counts_only_its_own_seconds():
    assert ordered_wh(2000.0, np.array([900.0, 1800.0, 0.0])).tolist() == [500.0, 1000.0, 0.0]


def test_figures_of_one_event():
    found = performance(np.array([100.0, 250.0, -20.0, 90.0]), np.full(4, 100.0))
    assert found.requested_wh == 400
    assert found.delivered_wh == 420
    assert found.positive_wh == 440
    assert found.ratio == pytest.approx(1.05)
    assert found.capped_ratio == pytest.approx((1 + 1 - 0.2 + 0.9) / 4)
    assert found.compliance == 0.75
    assert found.longest_miss == 1
    assert found.deficiency_wh == 130
    assert found.coverage == 1


def test_what_is_not_known_earns_nothing():
    found = performance(np.array([100.0, NAN, NAN, 100.0]), np.full(4, 100.0))
    assert found.delivered_wh == 200
    assert found.ratio == found.capped_ratio == found.compliance == found.coverage == 0.5
    assert found.longest_miss == 2
    assert performance(np.array([0.0, NAN]), np.full(2, 100.0), threshold=0.0).compliance == 0.5
    nothing = performance(np.array([NAN, NAN]), np.full(2, 100.0))
    assert np.isnan(nothing.delivered_wh)
    assert np.isnan(nothing.ratio)
    assert nothing.coverage == nothing.compliance == nothing.capped_ratio == 0


def test_without_an_order_there_is_no_ratio():
    found = performance(np.array([5.0]), np.zeros(1))
    assert found.delivered_wh == 5
    assert np.isnan([found.ratio, found.capped_ratio, found.compliance, found.coverage]).all()


@pytest.mark.parametrize(("done", "asked"), [([1.0], [1.0, 2.0]), ([1.0], [NAN]), ([1.0], [-1.0]), ([[1.0]], [[1.0]])])
def test_malformed_orders(done, asked):
    with pytest.raises(InvalidError):
        performance(np.array(done), np.array(asked))


energies = st.floats(-1000, 1000) | st.just(NAN)


@given(st.lists(st.tuples(energies, st.floats(1, 1000)), min_size=1, max_size=30))
def test_the_capped_ratio_gives_no_credit_for_too_much(pairs):
    done, asked = np.array(pairs).T
    found = performance(done, asked)
    assert found.capped_ratio <= 1
    assert 0 <= found.compliance <= found.coverage <= 1
    assert found.longest_miss <= len(pairs)


def test_the_pools_ratio_is_that_of_the_sums():
    done = np.array([[100.0, NAN], [300.0, 500.0], [NAN, NAN]])
    asked = np.array([[100.0, 100.0], [400.0, 400.0], [100.0, 100.0]])
    assert pooled(done).tolist() == [400.0, 500.0]
    assert performance(pooled(done), asked.sum(axis=0)).ratio == pytest.approx(900 / 1200)
    assert np.isnan(pooled(done[2:])).all()
    singles = [performance(row, order) for row, order in zip(done[:2], asked[:2], strict=True)]
    assert sum(one.delivered_wh for one in singles) == pooled(done).sum()


def test_participation():
    found = participation(
        [
            Answer("optIn", latency_s=10, ratio=0.9),
            Answer("optIn", latency_s=20, ratio=0.2),
            Answer("optIn", latency_s=30),
            Answer("optOut", latency_s=40, out_after_s=-600),
            Answer("optOut", out_after_s=60),
            Answer(),
        ]
    )
    assert (found.called, found.answered, found.no_answer) == (6, 5, 1)
    assert (found.opted_in, found.opted_out, found.opted_out_during, found.active) == (3, 2, 1, 1)
    assert found.participation_rate == 0.5
    assert found.response_rate == pytest.approx(5 / 6)
    assert found.opt_out_rate == pytest.approx(1 / 3)
    assert found.active_rate == pytest.approx(1 / 6)
    assert found.latency_p50_s == 25
    assert found.latency_p95_s == pytest.approx(38.5)


def test_nobody_was_called():
    found = participation([])
    assert found.called == 0
    assert np.isnan([found.participation_rate, found.latency_p50_s, found.latency_p95_s]).all()
    with pytest.raises(InvalidError):
        Answer("maybe")
