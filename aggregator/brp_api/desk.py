"""What the BRP API works with, and how a request writes."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from aggregator.trade.sales import Sales
from core.clock import Clock
from vtn.services.access_tokens import Tokens
from vtn.store.database import Database, Transaction
from web.api import Context
from web.attempts import FailureLimit
from web.http_client import Guard
from web.idempotency import Idempotency
from web.limits import RateLimit


@dataclass(frozen=True, slots=True)
class BrpDesk:
    """The parts of a running aggregator that the BRP API uses.

    `guard` says where webhooks may go. `failures` counts wrong secrets and tokens by address, `token_limit` a client's
    tokens. `stale_after_s` (world time): a VEN that was silent for so long is not counted on.
    """

    db: Database
    clock: Clock
    sales: Sales
    tokens: Tokens
    guard: Guard
    failures: FailureLimit
    idempotency: Idempotency[Transaction]
    stale_after_s: float = 60.0
    token_limit: RateLimit = field(default_factory=lambda: RateLimit(60))


BRP: Final = web.AppKey("brp", BrpDesk)


def writing(context: Context) -> AbstractAsyncContextManager[Transaction]:
    """Return the transaction of a request: the only way in which operations of the BRP API write."""
    return context.service(BRP).idempotency.writing(context.request)


def party_of(context: Context) -> str:
    """Return the BRP that is calling: what bounds everything that it sees."""
    party_id = context.principal.party_id
    if party_id is None:
        raise TypeError("A BRP's principal has a party.")
    return party_id
