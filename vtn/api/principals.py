"""Who may use the operator API: operators and their tokens."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field

from vtn.api.desk import DESK
from vtn.services import principals, site
from web.api import Context
from web.auth import Role
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page
from web.server import AUTHENTICATOR

_BY_NAME = Keyset("principals", str)


class NewPrincipal(Model):
    """An operator to create."""

    name: Annotated[str, Field(min_length=1, max_length=principals.LONGEST_NAME)]
    """Its name, which the audit shows."""
    role: Literal["viewer", "dispatcher", "admin"] = "viewer"
    days: Annotated[int, Field(ge=1, le=principals.LONGEST_DAYS)] | None = None
    """The token expires after so many days (real time); never if left out."""


class NewHouseholdToken(Model):
    """A token for a household."""

    name: Annotated[str, Field(min_length=1, max_length=principals.LONGEST_NAME)] | None = None
    """What the audit calls it; named after the VEN if left out."""
    days: Annotated[int, Field(ge=1, le=principals.LONGEST_DAYS)] | None = 365
    """It expires after so many days (real time); never if null."""


class Principal(Model):
    """Who may use the API."""

    id: str
    name: str
    role: str
    created_at: UtcTime
    expires_at: UtcTime | None
    revoked_at: UtcTime | None


class CreatedPrincipal(Model):
    """Somebody new who may use the API."""

    principal: Principal
    token: str
    """The token; it is shown here only."""


def _shown(principal: principals.Listed) -> Principal:
    return Principal.model_validate(principal, from_attributes=True)


@operation("GET", "/v1/principals", summary="List operators", role="admin", tags=["principals"])
async def list_principals(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Principal]:
    async with context.service(DESK).db.read() as conn:
        rows = await principals.everyone(conn)
    return _BY_NAME.part([_shown(row) for row in rows], limit, cursor, key=lambda row: (row.name,))


@operation(
    "POST",
    "/v1/principals",
    summary="Create an operator and its token",
    role="admin",
    tags=["principals"],
    status=201,
    errors=[409],
)
async def create_principal(context: Context, body: NewPrincipal) -> CreatedPrincipal:
    lifetime = timedelta(days=body.days) if body.days else None
    async with context.service(DESK).db.write() as tx:
        token = await principals.create(
            tx, body.name, Role(body.role), datetime.now(UTC), who=context.principal.name, lifetime=lifetime
        )
        made = await principals.named(tx.conn, body.name)
    return CreatedPrincipal(principal=_shown(made), token=token)


@operation(
    "POST",
    "/v1/principals/{principal_id}/revocation",
    summary="Revoke a token at once",
    role="admin",
    tags=["principals"],
    errors=[404],
)
async def revoke_principal(context: Context, principal_id: str) -> None:
    async with context.service(DESK).db.write() as tx:
        one = await principals.identified(tx.conn, principal_id)
        await principals.revoke(tx, one.name, datetime.now(UTC), who=context.principal.name)
    context.service(AUTHENTICATOR).clear()


@operation(
    "POST",
    "/v1/vens/{ven_id}/household-tokens",
    summary="Create a token for the household of a VEN",
    role="admin",
    tags=["principals"],
    status=201,
    errors=[404, 409],
)
async def create_household_token(context: Context, ven_id: str, body: NewHouseholdToken) -> CreatedPrincipal:
    """With it a household reads what is its own, such as `/v1/household/tariffs`, and nothing else."""
    desk = context.service(DESK)
    who, now = context.principal.name, datetime.now(UTC)
    name = body.name or f"household of {ven_id}"
    async with desk.db.write() as tx:
        party_id = await site.household_of(tx, ven_id, time_zone=desk.settings.time_zone, now=desk.clock.now(), who=who)
        lifetime = timedelta(days=body.days) if body.days else None
        token = await principals.create(tx, name, Role.HOUSEHOLD, now, who=who, lifetime=lifetime, party_id=party_id)
        created = await principals.named(tx.conn, name)
    return CreatedPrincipal(principal=_shown(created), token=token)


OPERATIONS = (list_principals, create_principal, revoke_principal, create_household_token)
