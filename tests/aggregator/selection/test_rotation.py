import numpy as np

from aggregator.selection.rotation import draw, ranks


def test_the_order_is_last_call_then_calls_then_the_draw():
    ids = ["a", "b", "c", "d"]
    last, calls = np.array([5, 0, 5, 5]), np.array([1, 9, 0, 1])
    found = ranks(ids, last, calls, seed=0)
    first, second = np.argsort(found)[2:]
    assert np.argsort(found)[:2].tolist() == [1, 2]
    assert {first, second} == {0, 3}


def test_a_draw_depends_on_the_id_and_the_seed_alone():
    alone = draw(["ven-1"], 7)[0]
    assert draw(["a-very-long-identifier-of-a-ven", "ven-1", ""], 7)[1] == alone
    assert draw(["ven-1"], 8)[0] != alone
    assert draw([], 7).size == 0


def test_draws_spread_evenly():
    found = draw([f"ven-{n}" for n in range(20_000)], 1)
    assert np.unique(found).size == 20_000
    counts = np.bincount((found >> np.uint64(60)).astype(int), minlength=16)
    assert counts.min() > 1100
    assert counts.max() < 1400
    other = draw([f"ven-{n}" for n in range(20_000)], 2)
    agreement = np.corrcoef(found.argsort().argsort(), other.argsort().argsort())[0, 1]
    assert abs(agreement) < 0.03
