import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from web.pagination import Keyset, Page

ORDER = Keyset("things", datetime, int, str)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def raw(value):
    return (
        base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")
    )


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
)
def test_a_cursor_gives_its_values_back(when, number, text):
    assert ORDER.decode(ORDER.encode(when, number, text)) == (when, number, text)


def test_times_of_other_zones_become_utc():
    local = NOON.astimezone(timezone(timedelta(hours=1)))
    decoded = ORDER.decode(ORDER.encode(local, 1, "x"))
    assert decoded == (NOON, 1, "x")
    assert decoded[0].tzinfo is UTC


def test_no_cursor_is_the_start():
    assert ORDER.decode(None) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "ä",
        "!!!!",
        raw(b"\xff"),
        raw([]),
        raw({}),
        raw(7),
        raw(["things"]),
        raw(["others", NOON.isoformat(), 1, "x"]),
        raw(["things", NOON.isoformat(), 1, "x", "y"]),
        raw(["things", "2026-01-31T12:00:00", 1, "x"]),
        raw(["things", 5, 1, "x"]),
        raw(["things", NOON.isoformat(), True, "x"]),
        raw(["things", NOON.isoformat(), 2**63, "x"]),
        raw(["things", NOON.isoformat(), 1, "\0"]),
        raw(["things", NOON.isoformat(), 1, "\ud800"]),
        raw(["things", "2026-01-31T13:00:00+01:00", 1, "x"]),
        raw(["things", "0001-01-01T00:00:00+01:00", 1, "x"]),
        raw(b"[" * 100_000),
        ORDER.encode(NOON, 1, "x") + "=",
        " " + ORDER.encode(NOON, 1, "x"),
    ],
)
def test_any_other_text_is_refused(cursor):
    with pytest.raises(InvalidError, match="start again without it"):
        ORDER.decode(cursor)


@given(st.text(max_size=80) | st.binary(max_size=60).map(raw))
def test_no_text_is_a_crash(cursor):
    with pytest.raises(InvalidError):
        ORDER.decode(cursor)


def test_the_extra_row_only_shows_that_more_follow():
    order = Keyset("numbers", int)
    assert order.page([1, 2, 3], 3, key=lambda row: (row,)) == Page(items=[1, 2, 3], next=None)
    assert order.page([1, 2, 3, 4], 3, key=lambda row: (row,)) == Page(items=[1, 2, 3], next=order.encode(3))
    assert order.page([], 3, key=lambda row: (row,)) == Page(items=[], next=None)


@given(st.lists(st.integers(0, 50), unique=True), st.integers(1, 7))
def test_a_listing_at_hand_is_paged_by_its_key(numbers, limit):
    order = Keyset("numbers", int)
    seen, cursor = [], None
    while True:
        page = order.part(numbers, limit, cursor, key=lambda number: (number,))
        assert len(page.items) <= limit
        seen += page.items
        cursor = page.next
        if cursor is None:
            break
    assert seen == sorted(numbers)


def test_a_listing_at_hand_goes_on_where_an_item_is_gone():
    order = Keyset("numbers", int)
    page = order.part([1, 2, 3, 4], 2, None, key=lambda number: (number,))
    rest = order.part([1, 3, 4], 2, page.next, key=lambda number: (number,))
    assert (page.items, rest.items, rest.next) == ([1, 2], [3, 4], None)
