"""BRPs, their programs and contracts, and the messages that they are sent."""

from datetime import datetime
from typing import Annotated

from aiohttp import web
from markupsafe import Markup
from pydantic import Field

from aggregator.brp_api.gate import GATE
from aggregator.brp_api.values import Currency, PositiveAmount
from aggregator.console.shared import PER_PAGE, Id, LocalTime, in_utc, listing, watts
from aggregator.console.shared import Kilowatts as KilowattsField
from aggregator.scopes import SCOPES
from aggregator.trade import brps, contracts, trade_view
from core.direction import Direction
from core.errors import InvalidError, NotFoundError
from vtn.api.fields import Email, Printable
from vtn.console import ConsoleRequest, Form, page
from vtn.services import api_clients, site, webhooks
from vtn.services import programme as programmes
from web.auth import Role
from web.model import Model
from web.pages.translations import gettext as _

_DELIVERIES = listing("webhook-deliveries")
_CONTRACTS = "contracts"
_USUAL = tuple(scope for scope in SCOPES if scope != "tariff:write")
_STATES = ("pending", "done", "dead")


class NewClient(Model):
    """A program of a BRP."""

    client: Annotated[Printable, Field(min_length=1, max_length=api_clients.LONGEST_NAME)] = "main"
    scopes: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=20)]
    certificate: Annotated[str, Field(max_length=20_000)] | None = None


class NewBrp(NewClient):
    """A BRP with its first program."""

    name: Annotated[Printable, Field(min_length=1, max_length=200)]
    email: Annotated[Email, Field(min_length=3, max_length=200)] | None = None


class NewContract(Model):
    """A contract; its times are UTC days or times in the console's zone."""

    party_id: Id
    programme_id: Id
    max_power: KilowattsField | None = None
    max_activations_per_day: Annotated[int, Field(ge=1, le=10_000)] | None = None
    directions: Annotated[list[str], Field(max_length=2)] = Field(default_factory=list)
    areas: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    direct_orders: bool = False
    per_ven_rows: bool = False
    currency: Currency = "EUR"
    per_kwh: PositiveAmount = "0"
    margin_per_kwh: PositiveAmount = "0"
    penalty_per_kwh: PositiveAmount = "0"
    valid_from: LocalTime | None = None
    valid_to: LocalTime | None = None


# -- BRPs


@page("GET", "/market/brps", role=Role.VIEWER)
async def list_brps(request: ConsoleRequest) -> web.StreamResponse:
    """Show all BRPs."""
    async with request.desk.db.read() as conn:
        found = await brps.listed(conn)
    return request.render("market/brps.html", brps=found)


@page("GET", "/market/brps/new", role=Role.ADMIN)
async def new_brp(request: ConsoleRequest) -> web.StreamResponse:
    """Show the form for a new BRP."""
    return request.render("market/brp_new.html", form=Form(), scopes=_scopes(), usual=_USUAL)


@page("POST", "/market/brps", role=Role.ADMIN)
async def create_brp(request: ConsoleRequest) -> web.StreamResponse:
    """Create a BRP with its first program; the secret is shown once."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewBrp)
        thumbprint = _thumbprint(wish)
        async with request.desk.db.write() as tx:
            party_id = await brps.create(tx, wish.name, request.now, who=request.who, email=wish.email)
            made, secret = await brps.create_client(
                tx,
                party_id,
                wish.client,
                wish.scopes,
                request.console.utcnow(),
                who=request.who,
                certificate=thumbprint,
            )
        return _reveal(request, party_id, _("BRP %(brp)s created.", brp=wish.name.strip()), made.id, secret)
    return request.render("market/brp_new.html", form=form, scopes=_scopes(), usual=_USUAL)


def _scopes() -> list[tuple[str, Markup]]:
    return [(scope, Markup("<code>{}</code>: {}").format(scope, _(text))) for scope, text in SCOPES.items()]


def _thumbprint(fields: NewClient) -> str | None:
    if fields.certificate is None:
        return None
    try:
        return api_clients.thumbprint_of_pem(fields.certificate)
    except InvalidError as error:
        raise InvalidError(str(error), field="certificate") from error


def _reveal(request: ConsoleRequest, party_id: str, text: str, client_id: str, secret: str) -> web.Response:
    shown = {_("Client ID"): client_id, _("Client secret"): secret}
    return request.redirect(f"/market/brps/{party_id}", notice=text, reveal=shown)


@page("GET", "/market/brps/{party_id}", role=Role.VIEWER)
async def show_brp(request: ConsoleRequest, party_id: str) -> web.StreamResponse:
    """Show a BRP with its programs, contracts and webhooks."""
    return await _brp_page(request, party_id, Form())


async def _brp_page(request: ConsoleRequest, party_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = next((it for it in await brps.listed(conn) if it.id == party_id), None)
        if one is None:
            raise NotFoundError(_("There is no BRP %(number)s.", number=party_id[:80]))
        return request.render(
            "market/brp.html",
            form=form,
            one=one,
            clients=await api_clients.listed(conn, party_id),
            contracts=await contracts.listed(conn, party_id=party_id, limit=200),
            subscriptions=await webhooks.listed(conn, party_id),
            names=await trade_view.names(conn),
            scopes=_scopes(),
            usual=_USUAL,
        )


@page("POST", "/market/brps/{party_id}/clients", role=Role.ADMIN)
async def create_client(request: ConsoleRequest, party_id: str) -> web.StreamResponse:
    """Give a BRP another program."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewClient)
        thumbprint = _thumbprint(wish)
        async with request.desk.db.write() as tx:
            made, secret = await brps.create_client(
                tx,
                party_id,
                wish.client,
                wish.scopes,
                request.console.utcnow(),
                who=request.who,
                certificate=thumbprint,
            )
        return _reveal(request, party_id, _("API client %(client)s created.", client=made.name), made.id, secret)
    return await _brp_page(request, party_id, form)


@page("POST", "/market/clients/{client_id}/secret", role=Role.ADMIN)
async def rotate_secret(request: ConsoleRequest, client_id: str) -> web.StreamResponse:
    """Replace a program's secret; the new one is shown once."""
    async with request.desk.db.write() as tx:
        secret = await api_clients.rotate(tx, client_id, request.console.utcnow(), who=request.who)
        one = await api_clients.get(tx.conn, client_id)
    return _reveal(request, one.party_id, _("New secret for API client %(client)s.", client=one.name), one.id, secret)


@page("POST", "/market/clients/{client_id}/revocation", role=Role.ADMIN)
async def revoke_client(request: ConsoleRequest, client_id: str) -> web.StreamResponse:
    """Shut a program out."""
    async with request.desk.db.write() as tx:
        await api_clients.revoke(tx, client_id, request.console.utcnow(), who=request.who)
        one = await api_clients.get(tx.conn, client_id)
    gate = request.http.config_dict.get(GATE)
    if gate is not None:
        gate.clear()
    return request.redirect(f"/market/brps/{one.party_id}", notice=_("API client %(client)s revoked.", client=one.name))


# -- contracts


@page("GET", "/market/contracts", role=Role.VIEWER)
async def list_contracts(request: ConsoleRequest) -> web.StreamResponse:
    """Show contracts, oldest first."""
    form = request.filters()
    keys = listing(_CONTRACTS)
    async with request.desk.db.read() as conn:
        rows = await contracts.listed(
            conn, party_id=form.value("party_id") or None, after=keys.before(request), limit=PER_PAGE + 1
        )
        names = await trade_view.names(conn)
    shown, following = keys.page(rows, lambda row: row.id)
    return request.render("market/contracts.html", form=form, rows=shown, following=following, names=names)


@page("GET", "/market/contracts/new", role=Role.ADMIN)
async def new_contract(request: ConsoleRequest) -> web.StreamResponse:
    """Show the form for a new contract."""
    return await _edit_contract(request, request.filters(), fresh=True)


async def _edit_contract(request: ConsoleRequest, form: Form, *, fresh: bool = False) -> web.Response:
    async with request.desk.db.read() as conn:
        names = await trade_view.names(conn)
        areas = await site.areas(conn)
    if fresh:
        usual = {"currency": "EUR", "per_kwh": "0", "margin_per_kwh": "0", "penalty_per_kwh": "0"}
        form = Form({name: [value] for name, value in usual.items()} | {"directions[]": list(Direction)} | _kept(form))
    return request.render("market/contract_new.html", form=form, names=names, areas=areas, directions=tuple(Direction))


def _kept(form: Form) -> dict[str, list[str]]:
    return {name: list(form.values(name)) for name in form.names()}


@page("POST", "/market/contracts", role=Role.ADMIN)
async def create_contract(request: ConsoleRequest) -> web.StreamResponse:
    """Make a contract."""
    form = await request.form()
    with form.catching():
        wish = form.read(NewContract)
        terms = contracts.ContractTerms(
            wish.party_id,
            wish.programme_id,
            contracts.Limits(
                None if wish.max_power is None else watts(wish.max_power),
                wish.max_activations_per_day,
                tuple(wish.directions),
                tuple(wish.areas),
                wish.direct_orders,
                wish.per_ven_rows,
            ),
            contracts.Price(wish.currency, wish.per_kwh, wish.margin_per_kwh, wish.penalty_per_kwh),
            _utc(request, "valid_from", wish.valid_from),
            _utc(request, "valid_to", wish.valid_to),
        )
        async with request.desk.db.write() as tx:
            made = await contracts.create(tx, terms, request.now, who=request.who)
        return request.redirect(f"/market/contracts/{made.id}", notice=_("Contract created."))
    return await _edit_contract(request, form)


def _utc(request: ConsoleRequest, name: str, when: datetime | None) -> datetime | None:
    if when is None:
        return None
    try:
        return in_utc(when, request.zone)
    except InvalidError as error:
        raise InvalidError(str(error), field=name) from error


@page("GET", "/market/contracts/{contract_id}", role=Role.VIEWER)
async def show_contract(request: ConsoleRequest, contract_id: str) -> web.StreamResponse:
    """Show a contract."""
    return await _contract_page(request, contract_id, Form())


async def _contract_page(request: ConsoleRequest, contract_id: str, form: Form) -> web.Response:
    async with request.desk.db.read() as conn:
        one = await contracts.get(conn, contract_id)
        rules = await programmes.get(conn, one.programme_id)
        names = await trade_view.names(conn)
    ended = one.valid_to is not None and one.valid_to <= request.now
    return request.render("market/contract.html", form=form, one=one, programme=rules, names=names, ended=ended)


@page("POST", "/market/contracts/{contract_id}/end", role=Role.ADMIN)
async def end_contract(request: ConsoleRequest, contract_id: str) -> web.StreamResponse:
    """Let a contract end now."""
    form = await request.form()
    with form.catching():
        async with request.desk.db.write() as tx:
            await contracts.end(tx, contract_id, request.now, who=request.who)
        return request.redirect(
            f"/market/contracts/{contract_id}", notice=_("Contract ended. What has been sold continues.")
        )
    return await _contract_page(request, contract_id, form)


# -- messages


@page("GET", "/market/webhooks", role=Role.VIEWER)
async def list_deliveries(request: ConsoleRequest) -> web.StreamResponse:
    """Show messages to BRPs, newest first; `?state=dead` those that were given up."""
    form = request.filters()
    state = form.value("state") if form.value("state") in _STATES else None
    async with request.desk.db.read() as conn:
        rows = await webhooks.deliveries(
            conn,
            party_id=form.value("party_id") or None,
            state=state,
            before=_DELIVERIES.before(request),
            limit=PER_PAGE + 1,
        )
        names = await trade_view.names(conn)
    shown, following = _DELIVERIES.page(rows, lambda row: row.id)
    return request.render(
        "market/webhooks.html", form=form, rows=shown, following=following, names=names, states=_STATES
    )


@page("POST", "/market/webhooks/{delivery_id}/replay", role=Role.DISPATCHER)
async def replay_delivery(request: ConsoleRequest, delivery_id: str) -> web.StreamResponse:
    """Send a message again."""
    async with request.desk.db.write() as tx:
        await webhooks.replay(tx, delivery_id, request.console.utcnow(), who=request.who)
    return request.redirect("/market/webhooks", notice=_("The message is being sent again."))


PAGES = (
    list_brps,
    new_brp,
    create_brp,
    show_brp,
    create_client,
    rotate_secret,
    revoke_client,
    list_contracts,
    new_contract,
    create_contract,
    show_contract,
    end_contract,
    list_deliveries,
    replay_delivery,
)
