"""One step of `benchmarks.evaluation_cost`, in a process of its own: it takes the code that PYTHONPATH names.

    evaluation_world.py make URL VENS            make VENs with readings and a dispatch; prints the dispatch's id
    evaluation_world.py evaluate URL DISPATCH    evaluate it; prints seconds, peak memory and what was delivered
    evaluation_world.py raw URL DISPATCH         fill the same arrays with a driver's cursor alone; prints the same

It names only what both this build and that of 9897552 have. What is printed is JSON.
"""

import asyncio
import importlib
import json
import resource
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import numpy as np
from sqlalchemy import delete, insert, select

from core.spans import Duration
from openadr.model.signal import Interval, Signal
from openadr.model.units import POWER_REAL_W
from vtn.services import dispatch, programme
from vtn.services.dispatch import Order
from vtn.services.programme import Parameters
from vtn.store import readings
from vtn.store.database import Database
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import chunk, evaluation, event, opt, series, ven

DAYS: Final = 17
"""Of readings before the event's own day: 13 like days, where `10of10` asks for ten."""
_STEP_S: Final = 900
_DAY_S: Final = 86_400
_SLOTS: Final = _DAY_S // _STEP_S
_NOON: Final = datetime(2026, 1, 29, 12, tzinfo=UTC)
_START: Final = _NOON + timedelta(hours=5)
_HOURS: Final = 2
_FIRST_S: Final = int(_NOON.timestamp()) // _DAY_S * _DAY_S - DAYS * _DAY_S
_LAST_S: Final = int(_START.timestamp()) + _HOURS * 3600
_SOME: Final = 1_000
_EVALUATE: Final = ("vtn.services.evaluation", "vtn.services.participation")
"""Where `evaluate` is, in this build and in that of 9897552."""
_QUERY: Final = """
    SELECT e.ven_id, c.start_s, c."values" FROM event e JOIN series s ON s.ven_id = e.ven_id
    JOIN chunk c ON c.series_id = s.id WHERE e.dispatch_id = {} AND c.start_s BETWEEN {} AND {} ORDER BY e.ven_id
"""


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[first : first + _SOME] for first in range(0, len(rows), _SOME))


async def make(url: str, count: str) -> str:
    """Make VENs that used power for some weeks and were called for two hours; return the dispatch's id."""
    db, rng = await Database.open(url), np.random.default_rng(7)
    ven_ids = [f"ven-{number:06d}" for number in range(int(count))]
    for some in _parts(ven_ids):
        async with db.write() as tx:
            rows = [{"id": one, "name": one, "strict": False, "created_at": _NOON} for one in some]
            await tx.conn.execute(insert(ven), rows)
            for one in some:
                values = Values(_FIRST_S, _STEP_S, tuple(_used(rng)))
                await readings.store(tx, SeriesKey(one, "meter", "energy_real", "sum"), "Wh", values, _NOON)
            numbers = (await tx.conn.execute(select(series.c.id).where(series.c.ven_id.in_(some)))).scalars().all()
            for day in range(1, DAYS + 1):
                start_s = _FIRST_S + day * _DAY_S
                await tx.conn.execute(insert(chunk), [_row(number, start_s, _used(rng)) for number in numbers])
    async with db.write() as tx:
        made = await programme.create(tx, "P", "http://grid/p", Parameters(baseline="10of10"), _NOON, who="bench")
        for some in _parts(ven_ids):
            await programme.enrol(tx, made.id, some, _NOON, who="bench")
    async with db.write() as tx:
        signal = Signal("LOAD_DISPATCH", "delta", "ld", (Interval(Duration.of(hours=_HOURS), -200.0),), POWER_REAL_W)
        order = Order(made.id, _START, Duration.of(hours=_HOURS), (signal,), direction="reduce")
        dispatch_id = await dispatch.create(tx, order, _NOON, who="bench")
        called = (await tx.conn.execute(select(event.c.id, event.c.ven_id))).all()
        said = {"source": "createdEvent", "opt_type": "optIn", "modification_number": 0, "at": _NOON}
        for some in _parts(called):
            await tx.conn.execute(insert(opt), [{"event_id": one.id, "ven_id": one.ven_id, **said} for one in some])
    await db.close()
    return dispatch_id


def _used(rng: np.random.Generator) -> list[float]:
    used: list[float] = rng.integers(50, 900, _SLOTS).astype(float).tolist()
    return used


def _row(series_id: int, start_s: int, values: list[float]) -> dict[str, Any]:
    span = {"start_s": start_s, "end_s": start_s + _DAY_S, "step_s": _STEP_S}
    return {"series_id": series_id, **span, "values": values, "revision": 0, "received_at": _NOON}


async def evaluate(url: str, dispatch_id: str) -> dict[str, Any]:
    """Read, compute and store a result; return what that took."""
    for name in _EVALUATE:
        try:
            run = importlib.import_module(name).evaluate
            break
        except (ModuleNotFoundError, AttributeError):
            continue
    db = await Database.open(url)
    async with db.write() as tx:
        await tx.conn.execute(delete(evaluation))  # of the same readings none is stored anew
    watch = _Watch()
    result = await run(db, dispatch_id, _START + timedelta(hours=_HOURS + 1))
    figures = watch.figures(sum(one.counts for one in result.vens), result.delivered_wh)
    await db.close()
    return figures


async def raw(url: str, dispatch_id: str) -> dict[str, Any]:
    """Fill an array with what an evaluation reads of its VENs' energies, (VENs, intervals); return what that took."""
    watch = _Watch()
    rows = await (_of_postgresql if url.startswith("postgresql") else _of_sqlite)(url, dispatch_id)
    return watch.figures(len(rows), float(sum(row[-1] for row in rows.values())))


async def _of_sqlite(url: str, dispatch_id: str) -> dict[str, Any]:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    cursor = connection.execute(_QUERY.format("?", "?", "?"), (dispatch_id, _FIRST_S, _LAST_S))
    filled = _filled(cursor)
    connection.close()
    return filled


async def _of_postgresql(url: str, dispatch_id: str) -> dict[str, Any]:
    connection = await asyncpg.connect(url)
    rows: dict[str, Any] = {}
    async with connection.transaction():
        cursor = await connection.cursor(_QUERY.format("$1", "$2", "$3"), dispatch_id, _FIRST_S, _LAST_S)
        while some := await cursor.fetch(_SOME):
            _filled(some, rows)
    await connection.close()
    return rows


def _filled(rows: Iterable[Any], into: dict[str, Any] | None = None) -> dict[str, Any]:
    filled: dict[str, Any] = {} if into is None else into
    for ven_id, start_s, values in rows:
        own = filled.get(ven_id)
        if own is None:
            own = filled[ven_id] = np.full((DAYS + 1) * _SLOTS, np.nan)
        place = (start_s - _FIRST_S) // _STEP_S
        some = json.loads(values)
        own[place : place + len(some)] = some
    return filled


class _Watch:
    """Wall and processor time since it was made, and the process's peak memory."""

    def __init__(self) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()

    def figures(self, vens: int, energy_wh: float | None) -> dict[str, Any]:
        seconds, cpu_s = time.perf_counter() - self._began, time.process_time() - self._used
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": seconds, "cpu_s": cpu_s, "rss_mb": peak_mb, "vens": vens, "energy_wh": energy_wh}


STEPS: Final[dict[str, Callable[[str, str], Awaitable[Any]]]] = {"make": make, "evaluate": evaluate, "raw": raw}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(STEPS[sys.argv[1]](*sys.argv[2:]))))
