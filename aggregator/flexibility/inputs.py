"""A fleet as JSON, exactly: what a selection was made from is stored with it and can be selected from again.

Powers hold over many steps of a fine grid, so a row is written as runs: `[[value, count], ...]`.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from aggregator.flexibility.fleet import Fleet, Floats, Reason, Whole

_POWERS: Final = ("p10_w", "p50_w", "p90_w")
_FLOATS: Final = ("nameplate_w", "reliability", "price")
_WHOLES: Final = ("calls_left", "calls", "last_call_s", "area")


def to_json(fleet: Fleet) -> dict[str, Any]:
    """Return a fleet as what JSON can hold; not-a-number is null."""
    return {
        "ven_ids": list(fleet.ven_ids),
        "start_s": fleet.start_s,
        "step_s": fleet.step_s,
        "count": fleet.size[1],
        "areas": list(fleet.areas),
        "barred": [None if why is None else why.value for why in fleet.barred],
        **{name: [runs(row) for row in getattr(fleet, name)] for name in _POWERS},
        **{name: [_plain(value) for value in getattr(fleet, name).tolist()] for name in _FLOATS},
        **{name: getattr(fleet, name).tolist() for name in _WHOLES},
        **{name: [_plain(value) for value in row.tolist()] for name, row in _set_points(fleet)},
    }


def from_json(data: dict[str, Any]) -> Fleet:
    """Return the fleet that `to_json` wrote."""
    shape = (len(data["ven_ids"]), data["count"])

    def powers(name: str) -> Floats:
        return np.array([unrolled(row) for row in data[name]], np.float64).reshape(shape)

    def floats(name: str) -> Floats:
        return np.array([_number(value) for value in data[name]], np.float64)

    def wholes(name: str) -> Whole:
        return np.array(data[name], np.int64)

    return Fleet(
        ven_ids=tuple(data["ven_ids"]),
        start_s=data["start_s"],
        step_s=data["step_s"],
        nameplate_w=floats("nameplate_w"),
        p10_w=powers("p10_w"),
        p50_w=powers("p50_w"),
        p90_w=powers("p90_w"),
        reliability=floats("reliability"),
        price=floats("price"),
        calls_left=wholes("calls_left"),
        calls=wholes("calls"),
        last_call_s=wholes("last_call_s"),
        barred=tuple(None if why is None else Reason(why) for why in data["barred"]),
        area=wholes("area"),
        areas=tuple(data["areas"]),
        minimum_w=floats("minimum_w") if "minimum_w" in data else None,
        step_w=floats("step_w") if "step_w" in data else None,
    )


def _set_points(fleet: Fleet) -> list[tuple[str, Floats]]:
    """Return the columns of set-points; none where no VEN has one."""
    return [(name, row) for name in ("minimum_w", "step_w") if (row := getattr(fleet, name)) is not None]


def runs(row: Floats) -> list[list[float | int | None]]:
    """Return a row of numbers as runs of equal ones."""
    if not row.size:
        return []
    same = (row[1:] == row[:-1]) | (np.isnan(row[1:]) & np.isnan(row[:-1]))
    first = np.concatenate(([0], np.flatnonzero(~same) + 1))
    counts = np.diff(np.append(first, row.size))
    return [[_plain(value), count] for value, count in zip(row[first].tolist(), counts.tolist(), strict=True)]


def unrolled(row: Sequence[Sequence[Any]]) -> list[float]:
    """Return the numbers of a row of runs."""
    return [value for one, count in row for value in [_number(one)] * count]


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
