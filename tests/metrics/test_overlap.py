"""The time that intervals share, against counting it second by second (metrics.overlap)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.overlap import overlap

CASES = {
    "one inside the other": ((0, 100), (20, 50), 30),
    "the same": ((5, 9), (5, 9), 4),
    "partly": ((0, 10), (7, 20), 3),
    "touching": ((0, 10), (10, 20), 0),
    "apart": ((0, 10), (11, 20), 0),
    "without length, inside": ((0, 10), (5, 5), 0),
    "without length, both": ((5, 5), (5, 5), 0),
    "ending before it begins": ((0, 10), (8, 2), 0),
    "both ending before they begin": ((10, 0), (8, 2), 0),
    "fractions of a second": ((0.0, 0.75), (0.5, 2.0), 0.25),
    "without end": ((0, 10), (4, np.inf), 6),
    "both without end": ((0, np.inf), (4, np.inf), np.inf),
}


@pytest.mark.parametrize(("interval", "other", "shared"), CASES.values(), ids=CASES)
def test_what_two_intervals_share(interval, other, shared):
    assert overlap(*interval, *other) == overlap(*other, *interval) == shared


def test_an_unknown_edge_leaves_it_unknown():
    assert np.isnan(overlap(np.array([0.0, np.nan]), 10, 5, 20)).tolist() == [False, True]


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        overlap(np.zeros(2), np.ones(2), np.zeros(3), np.ones(3))


edges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=8)


@given(edges, edges)
def test_each_of_some_shares_with_each_of_others_what_a_count_of_seconds_says(rows, columns):
    start, end = np.array(rows).T
    other_start, other_end = np.array(columns).T
    shared = overlap(start[:, None], end[:, None], other_start, other_end)
    assert shared.dtype == np.float64
    expected = [[len(set(range(*one)) & set(range(*other))) for other in columns] for one in rows]
    assert shared.tolist() == expected


@given(st.integers(-40, 40), st.integers(0, 80), st.integers(1, 12), st.integers(1, 9))
def test_cells_of_a_grid_share_no_second_twice_and_lose_none(start, length, step, count):
    cells = step * np.arange(count + 1)
    shared = overlap(start, start + length, cells[:-1], cells[1:])
    assert shared.shape == (count,)
    assert shared.sum() == overlap(start, start + length, 0, step * count)
