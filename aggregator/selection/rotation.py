"""Whose turn it is: least recently called first, then fewest calls, then a draw that the seed decides."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aggregator.flexibility.fleet import Whole

_PRIME = np.uint64(0x100000001B3)
_BASIS = 0xCBF29CE484222325


def draw(ven_ids: Sequence[str], seed: int) -> npt.NDArray[np.uint64]:
    """Return a number for each VEN that depends on its id and the seed alone: FNV-1a of the characters, mixed."""
    ids = np.array(ven_ids, dtype=np.str_)
    width = ids.dtype.itemsize // 4
    characters = ids.view(np.uint32).reshape(len(ven_ids), width) if width else np.zeros((len(ven_ids), 0), np.uint32)
    value = np.full(len(ven_ids), (_BASIS ^ (seed * 0x9E3779B97F4A7C15)) & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for column in characters.T:
        value = np.where(column > 0, (value ^ column.astype(np.uint64)) * _PRIME, value)
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(33))
    return mixed


def ranks(ven_ids: Sequence[str], last_call_s: Whole, calls: Whole, seed: int) -> Whole:
    """Return the place of each VEN in the rotation, 0 for the one whose turn it is.

    Called in this order, homes that can stand in for each other differ by at most one call: nobody is called again
    before everyone with fewer calls was.
    """
    order = np.lexsort((draw(ven_ids, seed), calls, last_call_s))
    place = np.empty(len(ven_ids), np.int64)
    place[order] = np.arange(len(ven_ids))
    return place
