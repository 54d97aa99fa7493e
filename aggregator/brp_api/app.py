"""The BRP API as a whole: its operations, its document, and how callers come in."""

from typing import Final

from aggregator.brp_api import (
    activations,
    me,
    oauth,
    offers,
    portfolio,
    programmes,
    reports,
    requests,
    settlements,
    statements,
    tariffs,
    webhooks,
)
from aggregator.brp_api.desk import BrpDesk
from aggregator.brp_api.gate import TokenGate
from aggregator.brp_api.webhook_messages import WEBHOOKS
from aggregator.scopes import SCOPES
from web.api import Access, Api
from web.limits import RateLimit
from web.openapi import Conventions
from web.server import Mount

PREFIX: Final = "/brp"
REQUESTS_PER_MINUTE: Final = 300

OPERATIONS = (
    *oauth.OPERATIONS,
    *me.OPERATIONS,
    *programmes.OPERATIONS,
    *portfolio.OPERATIONS,
    *requests.OPERATIONS,
    *offers.OPERATIONS,
    *activations.OPERATIONS,
    *reports.OPERATIONS,
    *settlements.OPERATIONS,
    *statements.OPERATIONS,
    *tariffs.OPERATIONS,
    *webhooks.OPERATIONS,
)

_ABOUT: Final = """\
For balance responsible parties: ask for flexibility, accept offers, follow activations, read what was delivered.

Get a token from POST /brp/v1/token with your client id and secret, and send it as 'Authorization: Bearer ...'. Times \
are UTC, spans include their start and not their end. Powers are whole watts, never negative, with a direction beside \
(reduce or increase, meaning consumption). Money is a decimal string with its currency.

Send an 'Idempotency-Key' with every POST: sent again with the same key, a request is done once and answered alike."""

_CONVENTIONS: Final = Conventions(
    scheme_name="oauth2",
    scheme={
        "type": "oauth2",
        "description": "OAuth2 client credentials (RFC 6749, 4.4). Tokens are JWTs (RFC 9068), good for 15 minutes; "
        "bound to the client's certificate (RFC 8705) where one is registered.",
        "flows": {"clientCredentials": {"tokenUrl": "/brp/v1/token", "scopes": dict(SCOPES)}},
    },
    idempotent=True,
    limited=True,
    webhooks=WEBHOOKS,
)


def brp_api() -> Api:
    """Return the BRP API, for serving and for its OpenAPI document."""
    return Api("evenload BRP API", "1", OPERATIONS, description=_ABOUT, conventions=_CONVENTIONS)


def mount(desk: BrpDesk, gate: TokenGate, *, requests_per_minute: int = REQUESTS_PER_MINUTE) -> Mount:
    """Return the API for `web.server.make_app`; put the desk under `BRP` into the application."""
    access = Access(gate, RateLimit(requests_per_minute), desk.idempotency.around)
    return Mount(PREFIX, brp_api(), access)
