"""Orders drawn over time, for a terminal: a row for each thing that is set, in plain letters."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from bridges.device import Value
from ven.planning import Planned

_WIDTH: Final = 64
_MARKS: Final = 4
_STEPS: Final = tuple(
    timedelta(minutes=minutes) for minutes in (1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)
)
_MOST_ROWS: Final = 50


def drawn(orders: Sequence[Planned]) -> list[str]:
    """Return the lines of a drawing: hours above, `[value---]` for as long as something is held at a value.

    None for orders that need none: fewer than two, or all at one moment.
    """
    if len(orders) < 2:  # noqa: PLR2004  one order is a line of text already
        return []
    begin, end = min(order.at for order in orders), max(order.until for order in orders)
    if end <= begin:
        return []
    names = list(dict.fromkeys(f"{order.device}.{order.capability}" for order in orders))[:_MOST_ROWS]
    margin = max(len(name) for name in names) + 2
    rows = {name: [" "] * (_WIDTH + 1) for name in names}
    for order in sorted(orders, key=lambda order: order.at):
        row = rows.get(f"{order.device}.{order.capability}")
        if row is not None:
            first = _column(order.at, begin, end)
            last = max(first + 1, _column(order.until, begin, end))
            row[first:last] = _bar(order.value, last - first)
    return [
        " " * margin + _axis(begin, end),
        *(f"{name:<{margin}}{''.join(row).rstrip()}" for name, row in rows.items()),
    ]


def _column(when: datetime, begin: datetime, end: datetime) -> int:
    return round((when - begin) / (end - begin) * _WIDTH)


def _bar(value: Value, width: int) -> str:
    """Return a bar of a width that says what is held."""
    if width < 2:  # noqa: PLR2004  no room for both ends
        return "|"[:width]
    text = value if isinstance(value, str) else f"{value:g}"
    return f"[{text[: width - 2]:-<{width - 2}}]"


def _axis(begin: datetime, end: datetime) -> str:
    """Return the times above the rows, at full minutes, quarters or hours."""
    step = next((each for each in _STEPS if (end - begin) / each <= _MARKS + 1), _STEPS[-1])
    day = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    form = "%H:%M" if step < timedelta(days=1) else "%m-%d"
    line = ""
    after = -((day - begin) // step) * step
    while after <= end - day:  # by distances: beyond the end there may be no time
        mark = day + after
        column = _column(mark, begin, end)
        if column >= len(line):
            line = f"{line:<{column}}{mark.strftime(form)} "
        after += step
    return line.rstrip()
