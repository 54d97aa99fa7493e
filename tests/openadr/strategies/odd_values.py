"""Messages that the schema allows and nobody expects: any kind, with odd lengths, times, numbers and ids in them.

They are bent by a seed, so that a message stays small for hypothesis and a failure repeats itself.
"""

import math
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from core.spans import Duration

ODD_LENGTHS = tuple(
    Duration.parse(text)
    for text in (
        "PT0S", "PT1S", "PT15M", "PT1H", "P1D", "P1W", "P1M", "P5M", "P1Y", "P100Y", "P9999Y", "P10000Y",
        "-PT1S", "-P1M", "-P9999Y", "PT2147483647S",
    )
)  # fmt: skip
ODD_NUMBERS = (0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 1.5, 1e308, 5e-324, math.nan, math.inf, -math.inf)
ODD_IDS = (
    "",
    " ",
    "0",
    "-1",
    "\u0000".replace("\u0000", "nul"),
    "METADATA",
    "%s",
    "../x",
    "'; --",
    "\U0001f50c",
    "x" * 3000,
)
_DAY = timedelta(days=1)


def odd_times(now: datetime) -> tuple[datetime, ...]:
    """Return the ends of the calendar, and the neighbourhood of a moment."""
    near = tuple(now + _DAY * days for days in (-400, -1, -1 / 24, -1 / 1440, 0, 1 / 1440, 1 / 24, 1, 400))
    edges = (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    )
    return (*near, *near, *edges)


def bent(value: Any, random: Random, now: datetime, ids: dict[str, tuple[str, ...]], share: float) -> Any:
    """Return a message with that share of its values replaced by odd ones, and its ids by those that fit.

    `ids` names the values that make sense for a field, such as the vtnID; they are mostly taken.
    """
    odd = {datetime: odd_times(now), Duration: ODD_LENGTHS, float: ODD_NUMBERS}

    def walk(value: Any, name: str = "") -> Any:
        if isinstance(value, tuple) and hasattr(value, "_replace"):
            return value._replace(**{one: walk(getattr(value, one), one) for one in value._fields})
        if isinstance(value, tuple):
            return tuple(walk(item, name) for item in value)
        if type(value) in odd:
            return random.choice(odd[type(value)]) if random.random() < share else value
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: walk(getattr(value, one.name), one.name) for one in fields(value)})
        if type(value) is str and name.endswith(("_id", "_ids", "context")):
            odd_id = random.random() < share / 4
            return random.choice(ODD_IDS if odd_id else ids.get(name, (value,)))
        return value

    return walk(value)


seeds = st.integers(0, 2**32 - 1)
