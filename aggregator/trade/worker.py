"""The market's periodic work: whatever is due, from rows with a due time.

A turn may be cut off at any moment (kill -9) and may run in several processes at once: every step is one transaction
that locks its row and looks again whether the step is still to be done. What takes CPU is done before, in a thread.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from aggregator.topics import Topic
from aggregator.trade import activation_start, activations, dispatch_control, offers, reports, requests, uncertainty
from aggregator.trade.activation_start import WORKER
from aggregator.trade.activations import Activation
from aggregator.trade.sales import Sales
from aggregator.trade.statement_watch import StatementWatch
from core.clock import Clock
from core.errors import EvenloadError
from metrics.uncertainty import Uncertainty
from vtn.services import result_due
from vtn.services.evaluation import Computed
from vtn.services.result_due import Waits
from vtn.services.webhooks import publish
from vtn.store.database import Connection, Database

_log = structlog.get_logger(__name__)

_MOST: Final = 50
"""So many of a kind in one turn: the next turn goes on."""
_PAUSE_S: Final = 15.0
"""Machine time before something that failed is tried again."""
_LEAST_WAIT: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class MarketSettings:
    """What a deployment decides. Durations are world time.

    `stale_after_s`: a VEN that was silent so long cannot be called, and is replaced. `offer_valid`: how long an offer
    stands (never beyond the notice before its start). The first report comes `report_after` the end, the final one
    `final_after`; between them new readings make new versions.
    """

    stale_after_s: float
    offer_valid: timedelta = timedelta(hours=1)
    report_after: timedelta = timedelta(minutes=10)
    final_after: timedelta = timedelta(days=7)

    def sales(self, db: Database, clock: Clock) -> Sales:
        """Return what sells by these settings."""
        return Sales(db, clock, stale_after_s=self.stale_after_s, offer_valid=self.offer_valid)


class TradeWorker:
    """One process's share of the market's work."""

    def __init__(self, db: Database, clock: Clock, settings: MarketSettings, sales: Sales | None = None) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._sales = sales or settings.sales(db, clock)
        self._statements = StatementWatch(db, clock)
        self._paused: dict[str, float] = {}

    async def turn(self) -> None:
        """Do everything that is due. What fails is logged and tried again a little later; the rest goes on."""
        now = self._clock.now()
        machine_now = time.monotonic()
        self._paused = {name: until for name, until in self._paused.items() if until > machine_now}
        async with self._db.read() as conn:
            running = await activations.due(conn, now, _MOST)
            overdue = await offers.overdue(conn, now, _MOST)
            waiting = await requests.waiting(conn, _MOST)
            ended = await result_due.due(conn, now, _MOST)
            unstated = await self._statements.due(conn, now, _MOST)
        for activation_id in running:
            await self._guarded(activation_id, self._activation)
        for offer_id in overdue:
            await self._guarded(offer_id, self._expire_offer)
        for request_id in waiting:
            await self._guarded(request_id, partial(self._sales.answer, who=WORKER))
        for dispatch_id in ended:
            await self._guarded(dispatch_id, self._result)
        for contract_month in unstated:
            await self._guarded(contract_month, self._statements.make)

    async def _guarded(self, subject: str, job: Callable[[str], Awaitable[None]]) -> None:
        """Keep one bad row from holding up the others."""
        if subject in self._paused:
            return
        try:
            await job(subject)
        except EvenloadError as error:
            _log.warning("market work failed", subject=subject, why=str(error))
        except Exception:  # noqa: BLE001  a fault in one activation must not hold up the others
            _log.exception("market work failed", subject=subject)
        else:
            return
        self._paused[subject] = time.monotonic() + _PAUSE_S

    async def _expire_offer(self, offer_id: str) -> None:
        async with self._db.write() as tx:
            await offers.expire(tx, offer_id, self._clock.now(), who=WORKER)

    # -- activations

    async def _activation(self, activation_id: str) -> None:
        now = self._clock.now()
        async with self._db.read() as conn:
            one = await activations.get(conn, activation_id)
        if one.due_at is None or one.due_at > now:
            return
        ended_at = one.ended_at(now)
        if ended_at is not None:
            await self._finish(one, ended_at, now)
        elif one.dispatch_id is None:
            await activation_start.call(self._db, activation_id, now, stale_after_s=self._settings.stale_after_s)
        else:
            await dispatch_control.tick(self._db, activation_id, now, stale_after_s=self._settings.stale_after_s)

    async def _finish(self, activation: Activation, ended_at: datetime, now: datetime) -> None:
        """Complete an activation at its end; then report on it until the report is final."""
        report_at = ended_at + self._settings.report_after
        final_at = await self._open_since(activation, ended_at) + self._settings.final_after
        if activation.completed_at is None and activation.cancelled_at is None:
            await self._complete(activation, report_at, now)
        elif now < report_at:
            async with self._db.write() as tx:
                if not await _is_done(tx.conn, activation):
                    await activations.advance(tx, activation, now, report_at)
        else:
            final = now >= final_at
            computed = await reports.evaluated(self._db, activation, now)
            doubt = await self._uncertainty(activation, computed)
            async with self._db.write() as tx:
                if await _is_done(tx.conn, activation):
                    return
                await reports.publish_report(
                    tx,
                    activation.id,
                    computed,
                    now,
                    who=WORKER,
                    final=final,
                    uncertainty=doubt,
                    final_at=final_at,
                )
                wait = max(_LEAST_WAIT, (now - ended_at) / 2)
                await activations.advance(tx, activation, now, None if final else min(final_at, now + wait))

    async def _open_since(self, activation: Activation, ended_at: datetime) -> datetime:
        """Return since when an activation's report is open: since its end, or a dispute of a final result."""
        if activation.dispatch_id is None:
            return ended_at
        async with self._db.read() as conn:
            opened = await result_due.reopened_at(conn, activation.dispatch_id)
        return max(ended_at, opened or ended_at)

    async def _complete(self, activation: Activation, report_at: datetime, now: datetime) -> None:
        async with self._db.write() as tx:
            if await _is_done(tx.conn, activation):
                return
            await activations.advance(tx, activation, now, report_at, completed_at=now)
            await tx.audit(WORKER, "complete activation", activation.id, at=now)
            await publish(tx, activation.party_id, Topic.ACTIVATION_COMPLETED, {"activation_id": activation.id}, now)

    async def _result(self, dispatch_id: str) -> None:
        """Compute what a dispatch brought; that of an activation is computed for its report, anew after a dispute."""
        async with self._db.read() as conn:
            activation_id = await activations.of_dispatch(conn, dispatch_id)
        if activation_id is not None:
            async with self._db.write() as tx:
                await result_due.settle(tx, dispatch_id, None)
                if await result_due.reopened_at(tx.conn, dispatch_id) is not None:
                    await activations.look_again(tx, activation_id, self._clock.now())
            return
        waits = Waits(self._settings.report_after, self._settings.final_after)
        await result_due.tick(self._db, dispatch_id, self._clock.now(), waits, who=WORKER)

    async def _uncertainty(self, activation: Activation, computed: Computed | None) -> Uncertainty | None:
        if computed is None:
            return None
        async with self._db.read() as conn:
            rules = await reports.rules_of(conn, activation)
            known = await uncertainty.inputs(conn, computed, rules)
        if known is None:
            return None
        return await asyncio.to_thread(uncertainty.estimated, known, activation.direction)


async def _is_done(conn: Connection, activation: Activation) -> bool:
    """Tell whether another turn did this step already; the row is locked from now on."""
    return (await activations.get(conn, activation.id, lock=True)).due_at != activation.due_at
