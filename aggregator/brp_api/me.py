"""Who is calling, in the BRP API."""

from typing import Any

from aggregator.brp_api.desk import BRP, party_of
from aggregator.brp_api.values import CONTRACT_EXAMPLE, Contract
from aggregator.trade import brps, contracts
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation


class Me(Model):
    """Who is calling, what the token is for, and the contracts that bound everything."""

    client_id: str
    party_id: str
    name: str
    """The BRP."""
    scopes: list[str]
    """What this token was made for."""
    token_expires_at: UtcTime | None
    now: UtcTime
    """The world's time, in which requests and activations are planned."""
    contracts: list[Contract]
    """At most 500, oldest first; ended ones too."""


_EXAMPLE: dict[str, Any] = {
    "client_id": "cli_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "party_id": "pty_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "name": "Balance & Co",
    "scopes": ["flex:order", "flex:read", "flex:request"],
    "token_expires_at": "2026-01-31T12:15:00Z",
    "now": "2026-01-31T12:00:00Z",
    "contracts": [CONTRACT_EXAMPLE],
}


@operation(
    "GET",
    "/brp/v1/me",
    summary="Read who you are and what you may do",
    role="brp",
    tags=["access"],
    answer_example=_EXAMPLE,
)
async def read_me(context: Context) -> Me:
    """Return the calling client, its BRP and its contracts. Any token will do."""
    desk, who, party_id = context.service(BRP), context.principal, party_of(context)
    async with desk.db.read() as conn:
        name = await brps.name_of(conn, party_id)
        held = await contracts.listed(conn, party_id=party_id, limit=500)
    return Me(
        client_id=who.id,
        party_id=party_id,
        name=name,
        scopes=sorted(who.scopes),
        token_expires_at=who.expires_at,
        now=desk.clock.now(),
        contracts=[Contract.of(one) for one in held],
    )


OPERATIONS = (read_me,)
