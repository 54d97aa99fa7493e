"""Areas on the map: the ring of positions that a serviceArea or serviceLocation consists of (EV-67)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

from core.errors import InvalidError

Position: TypeAlias = tuple[float, float]
"""Latitude and longitude in degrees, in this order, as GML has them where nothing else is said (WGS 84)."""

_FULL_TURN = 360.0
_LEAST_CORNERS = 3


def ring_text(corners: Sequence[Position]) -> str:
    """Return corners as the text of a gml:posList, closed. Raises InvalidError for what is no area on the map."""
    if len(set(corners)) < _LEAST_CORNERS:
        raise InvalidError(f"An area has at least {_LEAST_CORNERS} different corners.")
    if not all(_on_the_map(corner) for corner in corners):
        raise InvalidError("A corner of an area is a latitude from -90 to 90 and a longitude from -180 to 180 degrees.")
    closed = [*corners] if corners[0] == corners[-1] else [*corners, corners[0]]
    return " ".join(f"{float(degrees)!r}" for corner in closed for degrees in corner)


def corners_of(text: str) -> tuple[Position, ...]:
    """Return the corners of a gml:posList, each once; none if it is no list of positions on the map."""
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError:
        return ()
    corners = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    if len(numbers) % 2 or not all(_on_the_map(corner) for corner in corners):
        return ()
    return corners[:-1] if len(corners) > 1 and corners[0] == corners[-1] else corners


def surround(corners: Sequence[Position], position: Position) -> bool:
    """Tell whether a position lies within the ring of corners, or on one of them.

    Edges are straight in degrees and take the shorter way around the globe, so that an area may lie across the date
    line; none may hold a pole.
    """
    if position in corners:
        return True
    latitude, longitude = position
    inside = False
    for (south, west), (north, east) in pairwise([*corners, *corners[:1]]):
        begins = _turned(west - longitude)
        ends = begins + _turned(east - west)
        if (begins > 0) != (ends > 0) and latitude < south + (north - south) * begins / (begins - ends):
            inside = not inside
    return inside


def _on_the_map(corner: Position) -> bool:
    latitude, longitude = corner
    return math.isfinite(latitude + longitude) and abs(latitude) <= _FULL_TURN / 4 and abs(longitude) <= _FULL_TURN / 2


def _turned(degrees: float) -> float:
    """Return a difference of longitudes from -180 to 180 degrees, excluded at the upper end."""
    return (degrees + _FULL_TURN / 2) % _FULL_TURN - _FULL_TURN / 2
