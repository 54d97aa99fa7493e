"""What a dispatch brought: baseline, delivered energy, performance and opts, per VEN and in all (FN-DR-10..12).

An evaluation is a row with a version: it names its method and the hash of its inputs, and is never overwritten.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select

from core.direction import Direction
from core.errors import ConflictError, InvalidError, NotFoundError
from metrics.method import BaselineMethod
from metrics.presets import PRESETS
from vtn.services import common_basis, evaluation_inputs, programme
from vtn.services import dispatch as dispatches
from vtn.services.evaluation_inputs import Digest, VenInputs
from vtn.services.evaluation_result import EDITION, Result, VenRow, result_of, rows_of
from vtn.store.database import Connection, Database, Transaction
from vtn.store.rows import from_json, to_json
from vtn.store.tables import dispatch as dispatch_table
from vtn.store.tables import evaluation


@dataclass(frozen=True, slots=True)
class Computed:
    """A result that is not stored yet, and what it was made from. Its version is that of no stored one."""

    result: Result
    method: BaselineMethod
    input_hash: str


async def evaluate(db: Database, dispatch_id: str, now: datetime) -> Result:
    """Evaluate a dispatch with the data that is there now, store it and return it. Raises like `compute`."""
    found = await compute(db, dispatch_id, now)
    async with db.write() as tx:
        return await keep(tx, found, now)


async def compute(db: Database, dispatch_id: str, now: datetime) -> Computed:
    """Evaluate a dispatch with the data that is there now. Nobody waits for it: it holds no lock, and takes a thread.

    An event that was cancelled while it ran counts until then; one that was cancelled before it began was not called.
    A result that is final is returned as it is stored. Raises ConflictError before the event is over and for a dispatch
    that never began, InvalidError for an open-ended event.
    """
    async with db.read() as conn:
        whole = await dispatches.get(conn, dispatch_id)
        end = min(filter(None, (whole.shared.period.end, whole.cancelled_at)), default=None)
        if end is None:
            raise InvalidError("An open-ended event has no result before it is cancelled.")
        if end <= whole.shared.period.start:
            raise ConflictError("This dispatch was cancelled before it began; there is nothing to evaluate.")
        if now < end:
            raise ConflictError(f"The event lasts until {end.isoformat()}.")
        rules = await programme.get(conn, whole.programme_id, whole.programme_version)
        method = PRESETS.get(rules.parameters.baseline)
        if method is None:
            raise InvalidError(f"Unknown baseline '{rules.parameters.baseline}'; known: {', '.join(PRESETS)}.")
        frozen = None if await final_at(conn, dispatch_id) is None else await _newest(conn, dispatch_id)
        if frozen is not None:
            return Computed(from_json(Result, frozen.result), method, frozen.input_hash)
        direction = Direction(whole.direction or Direction.REDUCE)
        digest, rows = Digest(method, EDITION), []

        def work(inputs: Sequence[VenInputs]) -> list[VenRow]:
            digest.add(inputs)
            return rows_of(inputs, method, direction, rules.parameters)

        common = await common_basis.of_dispatch(conn, rules, method, whole)
        digest.add_common(common)
        async for inputs in evaluation_inputs.read(conn, whole, method, rules, common):
            rows += await asyncio.to_thread(work, inputs)
    result = await asyncio.to_thread(result_of, rows, method, rules.parameters, dispatch_id, now)
    return Computed(result, method, str(digest))


async def keep(tx: Transaction, computed: Computed, now: datetime) -> Result:
    """Store a result as the newest version and return it; of the same data, return the version that is there."""
    dispatch_id = computed.result.dispatch_id
    await dispatches.get(tx.conn, dispatch_id, lock=True)
    last = await _newest(tx.conn, dispatch_id)
    if last is not None and (
        last.input_hash == computed.input_hash or await final_at(tx.conn, dispatch_id) is not None
    ):  # of the same data; or it became final while this one was computed
        return from_json(Result, last.result)
    result = replace(computed.result, version=1 if last is None else last.version + 1)
    method = computed.method
    await tx.conn.execute(
        insert(evaluation).values(
            dispatch_id=dispatch_id,
            version=result.version,
            method={"id": method.id, "version": method.version, "citation": method.citation},
            result=to_json(result),
            input_hash=computed.input_hash,
            created_at=now,
        )
    )
    return result


async def stored(conn: Connection, dispatch_id: str, version: int | None = None) -> Result:
    """Return a stored evaluation, by default the newest. Raises NotFoundError."""
    newest = await _newest(conn, dispatch_id)
    row = newest
    if version is not None and newest is not None and newest.version != version:
        where = (evaluation.c.dispatch_id == dispatch_id) & (evaluation.c.version == version)
        row = (await conn.execute(select(evaluation).where(where))).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no result of dispatch '{dispatch_id}' yet; it comes by itself after the end.")
    result = from_json(Result, row.result)
    return replace(result, final_at=await final_at(conn, dispatch_id)) if row is newest else result


async def final_at(conn: Connection, dispatch_id: str) -> datetime | None:
    """Return since when the result of a dispatch is frozen; None: new data changes it."""
    query = select(dispatch_table.c.result_final_at).where(dispatch_table.c.id == dispatch_id)
    return (await conn.execute(query)).scalar_one_or_none()


async def _newest(conn: Connection, dispatch_id: str) -> Any:
    query = select(evaluation).where(evaluation.c.dispatch_id == dispatch_id).order_by(evaluation.c.version.desc())
    return (await conn.execute(query.limit(1))).first()
