"""BRPs and their programs, in the operator API."""

from typing import Annotated, Any

from pydantic import Field

from aggregator.brp_api.gate import GATE
from aggregator.scopes import SCOPES
from aggregator.trade import brps
from core.clock import machine_now
from vtn.api.desk import DESK
from vtn.api.fields import Email, Printable
from vtn.services import access_tokens, api_clients
from web.api import Context
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_CLIENTS = Keyset("brp-clients", str)


_BY_ID = Keyset("brps", str)


_USUAL = tuple(scope for scope in SCOPES if scope != "tariff:write")


class NewClient(Model):
    """A program of a BRP."""

    name: Annotated[Printable, Field(min_length=1, max_length=api_clients.LONGEST_NAME)] = "main"
    scopes: Annotated[tuple[Annotated[str, Field(max_length=40)], ...], Field(min_length=1, max_length=20)] = _USUAL
    """What its tokens may be made for; `tariff:write` has to be said."""
    certificate: Annotated[str, Field(max_length=20_000)] | None = None
    """A certificate (PEM): its tokens then work only for who shows that one in TLS (RFC 8705)."""


class NewBrp(Model):
    """A balance responsible party."""

    name: Annotated[Printable, Field(min_length=1, max_length=200)]
    email: Annotated[Email, Field(min_length=3, max_length=200)] | None = None
    client: NewClient = NewClient()
    """Its first program."""


class Brp(Model):
    """A balance responsible party."""

    id: str
    name: str
    email: str | None
    created_at: UtcTime


class Client(Model):
    """A program of a BRP. Times are real, not the world's."""

    id: str
    """The OAuth2 client_id."""
    brp_id: str
    name: str
    scopes: list[str]
    certificate: str | None
    """x5t#S256 of the certificate that its tokens are bound to."""
    created_at: UtcTime
    revoked_at: UtcTime | None


class CreatedClient(Model):
    """A program and its secret."""

    client: Client
    secret: str
    """The OAuth2 client_secret; it is shown here only."""


class CreatedBrp(CreatedClient):
    """A BRP with its first program."""

    brp: Brp


_BRP = {
    "id": "pty_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "name": "Balance & Co",
    "email": "desk@brp.example",
    "created_at": "2026-01-31T12:00:00Z",
}
_CLIENT: dict[str, Any] = {
    "id": "cli_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "brp_id": "pty_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "name": "main",
    "scopes": ["flex:read", "flex:request"],
    "certificate": None,
    "created_at": "2026-01-31T12:00:00Z",
    "revoked_at": None,
}
_SECRET = {"client": _CLIENT, "secret": "evs_..."}


def _shown(client: api_clients.Client) -> Client:
    return Client(
        id=client.id,
        brp_id=client.party_id,
        name=client.name,
        scopes=list(client.scopes),
        certificate=client.certificate,
        created_at=client.created_at,
        revoked_at=client.revoked_at,
    )


def _thumbprint(body: NewClient) -> str | None:
    return None if body.certificate is None else api_clients.thumbprint_of_pem(body.certificate)


def _forget_cached(context: Context) -> None:
    """Let the BRP API of this process ask anew who may come in, if it serves one."""
    gate = context.request.config_dict.get(GATE)
    if gate is not None:
        gate.clear()


@operation(
    "GET", "/v1/brps", summary="List BRPs", role="viewer", tags=["brps"], answer_example={"items": [_BRP], "next": None}
)
async def list_brps(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Brp]:
    """Return all BRPs, oldest first."""
    async with context.service(DESK).db.read() as conn:
        rows = [Brp.model_validate(brp, from_attributes=True) for brp in await brps.listed(conn)]
    return _BY_ID.part(rows, limit, cursor, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/brps",
    summary="Create a BRP and its first API client",
    role="admin",
    tags=["brps"],
    status=201,
    example={"name": "Balance & Co", "email": "desk@brp.example"},
    answer_example={**_SECRET, "brp": _BRP},
)
async def create_brp(context: Context, body: NewBrp) -> CreatedBrp:
    """Create the party, its first program, and the secret that it gets its tokens with."""
    desk, who = context.service(DESK), context.principal.name
    thumbprint, now = _thumbprint(body.client), desk.clock.now()
    async with desk.db.write() as tx:
        party_id = await brps.create(tx, body.name, now, who=who, email=body.email)
        client, secret = await brps.create_client(
            tx, party_id, body.client.name, body.client.scopes, machine_now(), who=who, certificate=thumbprint
        )
    brp = Brp(id=party_id, name=body.name.strip(), email=body.email, created_at=now)
    return CreatedBrp(brp=brp, client=_shown(client), secret=secret)


@operation(
    "GET",
    "/v1/brps/{brp_id}/clients",
    summary="List a BRP's API clients",
    role="viewer",
    tags=["brps"],
    errors=[404],
    answer_example={"items": [_CLIENT], "next": None},
)
async def list_clients(context: Context, brp_id: str, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Client]:
    """Return the programs of a BRP, oldest first, revoked ones too."""
    async with context.service(DESK).db.read() as conn:
        await brps.check(conn, brp_id)
        rows = [_shown(client) for client in await api_clients.listed(conn, brp_id)]
    return _CLIENTS.part(rows, limit, cursor, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/brps/{brp_id}/clients",
    summary="Add an API client to a BRP",
    role="admin",
    tags=["brps"],
    status=201,
    errors=[404],
    example={"name": "night shift", "scopes": ["flex:read"]},
    answer_example=_SECRET,
)
async def create_client(context: Context, brp_id: str, body: NewClient) -> CreatedClient:
    """Add a program with a secret of its own."""
    thumbprint, who = _thumbprint(body), context.principal.name
    async with context.service(DESK).db.write() as tx:
        client, secret = await brps.create_client(
            tx, brp_id, body.name, body.scopes, machine_now(), who=who, certificate=thumbprint
        )
    return CreatedClient(client=_shown(client), secret=secret)


@operation(
    "POST",
    "/v1/brp-clients/{client_id}/secret",
    summary="Replace an API client's secret at once",
    role="admin",
    tags=["brps"],
    status=201,
    errors=[404, 409],
    answer_example=_SECRET,
)
async def rotate_client_secret(context: Context, client_id: str) -> CreatedClient:
    """Make a new secret; the old one gets no more tokens, and those that it got run out by themselves."""
    async with context.service(DESK).db.write() as tx:
        secret = await api_clients.rotate(tx, client_id, machine_now(), who=context.principal.name)
        client = await api_clients.get(tx.conn, client_id)
    return CreatedClient(client=_shown(client), secret=secret)


@operation(
    "POST",
    "/v1/brp-clients/{client_id}/revocation",
    summary="Revoke an API client: its secret and tokens stop working",
    role="admin",
    tags=["brps"],
    errors=[404],
)
async def revoke_client(context: Context, client_id: str) -> None:
    """Refuse the program from now on, at once here and within ten seconds in other processes."""
    async with context.service(DESK).db.write() as tx:
        await api_clients.revoke(tx, client_id, machine_now(), who=context.principal.name)
    _forget_cached(context)


@operation(
    "POST",
    "/v1/token-keys/rotation",
    summary="Sign tokens with a new key from now on",
    role="admin",
    tags=["brps"],
)
async def rotate_token_key(context: Context, revoke: bool = False) -> None:
    """Make a new signing key; tokens that the old one signed are read until they expire.

    `revoke=true`, for a key that somebody else may have: no token from before is taken any more, from now on.
    """
    async with context.service(DESK).db.write() as tx:
        await access_tokens.rotate_keys(tx, machine_now(), who=context.principal.name, revoke=revoke)


OPERATIONS = (
    list_brps,
    create_brp,
    list_clients,
    create_client,
    rotate_client_secret,
    revoke_client,
    rotate_token_key,
)
