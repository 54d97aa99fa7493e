"""The form of a chunk: several read at once are what each of them is."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vtn.store import chunks
from vtn.store.chunks import DAY_S


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=5)), min_size=1
    ),
    st.sampled_from([None, 60, 900]),
    st.sampled_from(["sum", "mean", "instant", "register"]),
    st.booleans(),
)
def test_chunks_alike_are_read_at_once_as_one_by_one(days, step_s, kind, oddly):
    rows = [
        chunks.Content(DAY_S * day, DAY_S * (day + 1), step_s, None, None, values, None, None) for day, values in days
    ]
    if oddly:
        rows[-1] = replace(rows[-1], qualities=["estimated"] * len(rows[-1].values))
    one_by_one = [np.concatenate(each) for each in zip(*(chunks.arrays(row, kind) for row in rows), strict=True)]
    at_once = chunks.even_arrays(rows, kind)
    if oddly or step_s is None:
        assert at_once is None
    else:
        assert (one_by_one.pop() == "good").all()
        for mine, each in zip(at_once, one_by_one, strict=True):
            np.testing.assert_array_equal(mine, each)
