"""Times for schemathesis: those of its own are of any year, and nearly all of them outside those that the APIs take.

What is thrown away has to be drawn again: an operation with two times took hundreds of draws for one request.
"""

from datetime import UTC, datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st

_FIRST, _LAST = datetime(1970, 1, 2), datetime(2199, 12, 30)  # noqa: DTZ001  in any zone, hence a day within
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def draw_times_that_apis_take() -> None:
    """Let schemathesis draw times of the years 1970 to 2199, with any offset, to the microsecond."""
    times = st.datetimes(_FIRST, _LAST, timezones=st.just(UTC) | _ZONES)
    zulu = times.map(lambda time: time.astimezone(UTC).isoformat().replace("+00:00", "Z"))
    schemathesis.openapi.format("date-time", times.map(datetime.isoformat) | zulu)
