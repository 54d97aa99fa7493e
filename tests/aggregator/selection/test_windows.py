import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aggregator.selection.windows import best_blocks, within

GAINS = st.integers(1, 7).flatmap(lambda m: st.lists(st.lists(st.integers(-9, 9), min_size=m, max_size=m), min_size=1))


@given(GAINS)
def test_the_best_block_is_the_best_of_all(rows):
    gain = np.array(rows, dtype=np.float64)
    value, start, stop = best_blocks(gain, one_block=False)
    for home, row in enumerate(rows):
        best = max(sum(row[a:b]) for a in range(len(row)) for b in range(a + 1, len(row) + 1))
        assert value[home] == best == sum(row[start[home] : stop[home]])
        assert stop[home] > start[home]


def test_a_whole_event_is_one_block():
    value, start, stop = best_blocks(np.array([[1.0, -5.0, 2.0]]), one_block=True)
    assert (value[0], start[0], stop[0]) == (-2, 0, 3)


def test_within_marks_the_block():
    assert within(np.array([1, 0]), np.array([3, 0]), 4).tolist() == [[0, 1, 1, 0], [0, 0, 0, 0]]
