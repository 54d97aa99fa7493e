"""What the BRP API works with, and the transaction of a request."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from aggregator.buyers.tokens import Tokens
from aggregator.trade.sales import Sales
from core.clock import Clock
from vtn.store.database import Database, Transaction
from web.api import Context
from web.attempts import FailureLimit
from web.http_client import Guard
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
    stale_after_s: float = 60.0
    token_limit: RateLimit = field(default_factory=lambda: RateLimit(60))


BRP: Final = web.AppKey("brp", BrpDesk)


class OneTransaction:
    """The transaction of a request with an Idempotency-Key: begun when something is written, and ended with the answer.

    So nobody waits for it while the request still reads and reckons.
    """

    def __init__(self, db: Database, stack: contextlib.AsyncExitStack) -> None:
        self._db = db
        self._stack = stack
        self._tx: Transaction | None = None

    async def begun(self) -> Transaction:
        """Return it, beginning it if need be."""
        if self._tx is None:
            self._tx = await self._stack.enter_async_context(self._db.write())
        return self._tx


TRANSACTION: Final = web.RequestKey("transaction", OneTransaction)
"""Present in requests with an Idempotency-Key."""


@contextlib.asynccontextmanager
async def writing(context: Context) -> AsyncIterator[Transaction]:
    """Write in the request's transaction.

    With an Idempotency-Key that is the one which also remembers the answer, so that either both are committed or
    neither; otherwise one of its own. The only way in which operations of the BRP API write.
    """
    one = context.request.get(TRANSACTION)
    if one is not None:
        yield await one.begun()
        return
    async with context.service(BRP).db.write() as tx:
        yield tx


def party_of(context: Context) -> str:
    """Return the BRP that is calling: what bounds everything that it sees."""
    party_id = context.principal.party_id
    if party_id is None:
        raise TypeError("A BRP's principal has a party.")
    return party_id
