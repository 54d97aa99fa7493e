"""Everybody's potential in force, as arrays: what sums and pools over a whole fleet work on.

A fleet of 10,000 homes has tens of thousands of rows with a hundred and fifty numbers each. They come in portions and
are taken apart in a thread, so that VENs are answered meanwhile.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json
from sqlalchemy import Select, select

from metrics.overlap import overlap
from vtn.services.potential import STALE_AFTER_S
from vtn.store.database import Connection
from vtn.store.rows import as_text, in_parts, portions
from vtn.store.tables import potential

Floats = NDArray[np.float64]

_QUANTILES: Final = ("p10_w", "p50_w", "p90_w")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Potentials of one direction whose steps coincide: k of them, with n steps of `step_s` from `start_s`.

    `values_w` (k, 3, n): p10, p50 and p90. `issued_at` in seconds since 1970, `stale_after_s` by source (both k).
    """

    direction: str
    start_s: int
    step_s: int
    ven_ids: tuple[str, ...]
    sources: tuple[str, ...]
    issued_at: Floats
    stale_after_s: Floats
    values_w: Floats

    @property
    def end_s(self) -> int:
        """The first second after the last step."""
        steps: int = self.values_w.shape[2]
        return self.start_s + self.step_s * steps

    def too_old(self, now: datetime) -> NDArray[np.bool_]:
        """Tell of each (k) whether it was issued too long ago for its source."""
        old: NDArray[np.bool_] = now.timestamp() - self.issued_at > self.stale_after_s
        return old

    def fresh(self, now: datetime) -> NDArray[np.bool_]:
        """Tell of each (k) whether it still says something: the opposite of `Potential.is_stale`."""
        return ~self.too_old(now) & (self.end_s > now.timestamp())

    def shares(self, edges_s: NDArray[np.int64]) -> Floats:
        """Return the matrix (n, T) that makes mean powers between `edges_s` (T + 1) out of `values_w`.

        What lies outside the batch's time counts as zero.
        """
        own_s = self.start_s + self.step_s * np.arange(self.values_w.shape[2] + 1)
        return overlap(own_s[:-1, None], own_s[1:, None], edges_s[:-1], edges_s[1:]) / np.diff(edges_s)


@dataclass(slots=True)
class _Pile:
    """Rows that become a batch; `numbers` says as which they came."""

    numbers: list[int] = field(default_factory=list)
    keys: list[tuple[str, str, str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    issued_at: list[float] = field(default_factory=list)
    texts: tuple[list[str], list[str], list[str]] = field(default_factory=lambda: ([], [], []))


class _Sorter:
    """Piles up rows whose steps coincide, and knows the last one of each resource and direction."""

    def __init__(self) -> None:
        self._piles: dict[tuple[str, int, int, int], _Pile] = {}
        self._last: dict[tuple[str, str, str], int] = {}
        self._count = 0

    def take(self, rows: Iterable[Any]) -> None:
        """Take a portion, in the order of issue."""
        for ven_id, resource_id, direction, start_s, step_s, source, issued_at, *texts in rows:
            self._count += 1
            steps = texts[0].count(",") + 1
            pile = self._piles.setdefault((direction, start_s, step_s, steps), _Pile())
            key = (ven_id, resource_id, direction)
            self._last[key] = self._count
            pile.numbers.append(self._count)
            pile.keys.append(key)
            pile.sources.append(source)
            pile.issued_at.append(issued_at.timestamp())
            for kept, text in zip(pile.texts, texts, strict=True):
                kept.append(text)

    def batches(self) -> list[Batch]:
        """Return what was taken, without what was issued again."""
        return [self._batch(*shape[:3], pile) for shape, pile in self._piles.items()]

    def _batch(self, direction: str, start_s: int, step_s: int, pile: _Pile) -> Batch:
        own = [place for place, key in enumerate(pile.keys) if self._last[key] == pile.numbers[place]]
        values = [np.concatenate([_numbers(some) for some in in_parts(rows)]) for rows in pile.texts]
        return Batch(
            direction=direction,
            start_s=start_s,
            step_s=step_s,
            ven_ids=tuple(pile.keys[place][0] for place in own),
            sources=tuple(pile.sources[place] for place in own),
            issued_at=np.array(pile.issued_at)[own],
            stale_after_s=np.array([STALE_AFTER_S[pile.sources[place]] for place in own]),
            values_w=np.stack(values, axis=1)[own],
        )


def _numbers(texts: Sequence[str]) -> Floats:
    """Return JSON lists of one length as rows. Not too many at once: no other thread works meanwhile."""
    return np.array(from_json(f"[{','.join(texts)}]"), dtype=np.float64)


async def batches(conn: Connection, *, direction: str | None = None, ven_ids: Select[Any] | None = None) -> list[Batch]:
    """Return the potentials in force (of the VENs that a query names, in one direction), one a resource: the newest."""
    columns = ("ven_id", "resource_id", "direction", "start_s", "step_s", "source", "issued_at")
    texts = (as_text(potential.c[name]).label(name) for name in _QUANTILES)
    query = select(*(potential.c[name] for name in columns), *texts).where(potential.c.superseded_at.is_(None))
    if direction is not None:
        query = query.where(potential.c.direction == direction)
    if ven_ids is not None:
        query = query.where(potential.c.ven_id.in_(ven_ids))
    sorter = _Sorter()
    async for rows in portions(conn, query.order_by(potential.c.issued_at, potential.c.id)):
        await asyncio.to_thread(sorter.take, rows)
    return await asyncio.to_thread(sorter.batches)
