"""Areas on the map: what is written is read again, and what lies in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from openadr.model.area import corners_of, ring_text, surround

SQUARE = ((59.0, 18.0), (60.0, 18.0), (60.0, 19.0), (59.0, 19.0))
HORSESHOE = ((0.0, 0.0), (0.0, 3.0), (3.0, 3.0), (3.0, 2.0), (1.0, 2.0), (1.0, 1.0), (3.0, 1.0), (3.0, 0.0))
DATE_LINE = ((-18.0, 179.0), (-16.0, 179.0), (-16.0, -179.0), (-18.0, -179.0))
_positions = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@pytest.mark.parametrize(
    ("corners", "position", "inside"),
    [
        (SQUARE, (59.5, 18.5), True),
        (SQUARE, (58.9, 18.5), False),
        (SQUARE, (60.1, 18.5), False),
        (SQUARE, (59.5, 17.9), False),
        (SQUARE, (59.5, 19.1), False),
        (SQUARE, (59.5, -161.5), False),  # on the other side of the globe
        (SQUARE, (59.0, 18.0), True),
        (HORSESHOE, (2.0, 0.5), True),
        (HORSESHOE, (2.0, 1.5), False),
        (HORSESHOE, (2.0, 2.5), True),
        (DATE_LINE, (-17.0, 179.5), True),
        (DATE_LINE, (-17.0, -179.5), True),
        (DATE_LINE, (-17.0, 178.0), False),
        (DATE_LINE, (-17.0, 0.0), False),
        ((), (0.0, 0.0), False),
        (((1.0, 1.0),), (1.0, 1.0), True),  # a serviceLocation may be a point
        (((1.0, 1.0),), (1.0, 2.0), False),
        (((1.0, 1.0), (1.0, 3.0)), (0.9, 2.0), False),
    ],
)
def test_ev67_what_lies_in_an_area(corners, position, inside):
    for turn in range(len(corners) or 1):
        assert surround(corners[turn:] + corners[:turn], position) is inside
    assert surround(corners[::-1], position) is inside


@given(st.lists(_positions, min_size=3, max_size=8, unique=True).map(tuple))
def test_what_is_written_is_read_again(corners):
    text = ring_text(corners)
    assert corners_of(text) == corners
    assert text.split()[:2] == text.split()[-2:]  # a ring is closed


@pytest.mark.parametrize("corners", [(), SQUARE[:2], (SQUARE[0],) * 4, (*SQUARE, (91.0, 0.0)), (*SQUARE, (0.0, 180.5))])
def test_what_is_no_area_is_not_written(corners):
    with pytest.raises(InvalidError):
        ring_text(corners)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_corner_that_is_no_number_is_not_written(number):
    with pytest.raises(InvalidError):
        ring_text((*SQUARE, (0.0, number)))


@pytest.mark.parametrize(
    "text", ["", "1.0", "1.0 2.0 3.0", "NaN 1.0 2.0 2.0 3.0 3.0", "INF 0.0", "91.0 0.0", "0.0 1e308", "here and there"]
)
def test_what_is_no_ring_has_no_corners(text):
    assert corners_of(text) == ()


@given(st.lists(_positions, max_size=6).map(tuple), _positions)
def test_any_ring_is_judged(corners, position):
    assert surround(corners, position) in (True, False)
