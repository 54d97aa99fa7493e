"""The aggregator in a VTN process: the BRP API on the REST listener, messages to BRPs, and its periodic work."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, Self
from urllib.parse import quote

from aiohttp import web

from aggregator.api import OPERATIONS
from aggregator.brp_api import BRP, GATE, BrpDesk, TokenGate, mount
from aggregator.flexibility import history
from aggregator.keys import SALES
from aggregator.tariff.prices import PriceSignals
from aggregator.tariff.tariff_source import TariffFetcher
from aggregator.trade.potential_watch import PotentialWatch
from aggregator.trade.worker import MarketSettings, TradeWorker
from evenload.settings import Settings
from vtn.api import Desk
from vtn.services import idempotency, webhooks
from vtn.services.access_tokens import Tokens
from vtn.services.idempotency import RequestKeys
from web import http_client
from web.api import Api
from web.attempts import FailureLimit
from web.http_client import Guard
from web.idempotency import Idempotency
from web.server import Mount

_WORK_S: Final = 1
_FETCH_S: Final = 5
_PRICE_S: Final = 15
_DERIVE_S: Final = 60
_WATCH_S: Final = 120
_FORGET_S: Final = 3600

Job = tuple[Callable[[], Awaitable[object]], float]
"""Periodic work, and how many seconds (machine time) lie between its turns."""


@dataclass(frozen=True, slots=True)
class AggregatorApp:
    """What the aggregator runs with in this process."""

    desk: BrpDesk
    gate: TokenGate
    worker: TradeWorker
    sender: webhooks.Sender
    fetcher: TariffFetcher
    signals: PriceSignals
    watch: PotentialWatch
    requests_per_minute: int

    @classmethod
    def build(cls, settings: Settings, desk: Desk) -> Self:
        """Put the parts together. Raises InvalidError for settings that name no host or network."""
        guard = Guard.allowing(settings.outgoing.allow, settings.outgoing.ca)
        db, clock = desk.db, desk.clock
        tokens = Tokens(db, f"urn:evenload:{quote(desk.settings.vtn_id, safe='')}", "brp")
        times = _market(settings, desk.stale_after_s)
        sales = times.sales(db, clock)
        brp = BrpDesk(db, clock, sales, tokens, guard, FailureLimit(), Idempotency(RequestKeys(db)), desk.stale_after_s)
        return cls(
            desk=brp,
            gate=TokenGate(db, tokens, brp.failures),
            worker=TradeWorker(db, clock, times, sales),
            sender=webhooks.Sender(db, guard),
            fetcher=TariffFetcher(db, clock, partial(http_client.fetch_json, guard=guard)),
            signals=PriceSignals(db, clock),
            watch=PotentialWatch(db, clock, desk.stale_after_s),
            requests_per_minute=settings.brp.requests_per_minute,
        )

    def mounts(self) -> list[Mount]:
        """Return the BRP API, for the REST listener."""
        return [mount(self.desk, self.gate, requests_per_minute=self.requests_per_minute)]

    def put_into(self, app: web.Application) -> None:
        """Give the operations what they work with."""
        app[BRP], app[GATE], app[SALES] = self.desk, self.gate, self.desk.sales

    def jobs(self) -> Sequence[Job]:
        """Return the periodic work. What must survive a crash is a row with a due time."""
        return (
            (self.worker.turn, _WORK_S),
            (self.sender.turn, _WORK_S),
            (self.fetcher.turn, _FETCH_S),
            (self.signals.turn, _PRICE_S),
            (self._derive, _DERIVE_S),
            (self.watch.turn, _WATCH_S),
            (self._forget, _FORGET_S),
        )

    async def close(self) -> None:
        """Stop sending; what was not sent waits in its row."""
        await self.sender.close()

    async def _derive(self) -> None:
        """Take the potential of homes that report none from their history."""
        await history.derive(self.desk.db, self.desk.clock.now())

    async def _forget(self) -> None:
        """Delete remembered answers after a day, receipts of webhooks after a month."""
        async with self.desk.db.write() as tx:
            now = datetime.now(UTC)
            await idempotency.forget_old(tx, now)
            await webhooks.forget_old(tx, now)


def _market(settings: Settings, stale_after_s: float) -> MarketSettings:
    times = settings.market
    return MarketSettings(
        stale_after_s,
        times.offer_valid.timedelta(),
        times.report_after.timedelta(),
        times.final_after.timedelta(),
    )


def with_market(api: Api) -> Api:
    """Return the operator API with what the aggregator adds to it."""
    return api.including(*OPERATIONS)
