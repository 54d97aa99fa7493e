"""The seller's commands: BRPs, their programs and contracts, what they buy. `evenload market`, on the operator API."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidError
from evenload.names import Noun
from evenload.printable import printable
from evenload.session import MaybeMoment, Session, command, open_group
from evenload.statements import market_statement

if TYPE_CHECKING:
    from evenload.client import OperatorClient

market = typer.Typer(help="BRPs, contracts, and what is sold to them.", no_args_is_help=True)
market.callback()(open_group)
market.add_typer(market_statement, name="statement")

_Brp = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="BRP"), Noun.BRP]
_Client = Annotated[str, typer.Argument(help="Id of an API client (cli_...).")]
_Scope = Annotated[
    list[str] | None, typer.Option(help="Scope of the API client. Repeatable. Default: all but tariff:write.")
]
_Cert = Annotated[typer.FileText | None, typer.Option(help="Certificate (PEM) to which its tokens are bound.")]


def _client(name: str, scopes: list[str] | None, certificate: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"name": name}
    if scopes:
        body["scopes"] = scopes
    if certificate is not None:
        body["certificate"] = certificate.read()
    return body


def _tell_secret(session: Session, created: Any) -> None:
    text = (
        f"Client id:  {created['client']['id']}\nSecret:     {created['secret']}   (shown this once)\n"
        f"The BRP sets EVENLOAD_BRP_CLIENT_ID and EVENLOAD_BRP_SECRET, then: evenload brp me"
    )
    session.tell(created, printable(created["brp"]["id"]) + "\n" + text if "brp" in created else text)


@command(market, "brps")
def brps(session: Session) -> None:
    """List BRPs."""
    session.table(session.call(lambda client: client.all("/brps")), "id", "name", "email", "created_at")


@command(market, "add-brp")
def add_brp(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name.")],
    email: Annotated[str | None, typer.Option(help="E-mail address of the BRP.")] = None,
    scope: _Scope = None,
    certificate: _Cert = None,
) -> None:
    """Create a BRP with its first API client. Prints the secret, which is shown only once."""
    body = {"name": name, "email": email, "client": _client("main", scope, certificate)}
    _tell_secret(session, session.call(lambda client: client.post("/brps", body)))


@command(market, "clients")
def clients(session: Session, brp_id: _Brp) -> None:
    """List a BRP's API clients."""
    rows = session.call(lambda client: client.all(f"/brps/{brp_id}/clients"))
    session.table(rows, "id", "name", "scopes", "certificate", "revoked_at")


@command(market, "add-client")
def add_client(
    session: Session,
    brp_id: _Brp,
    name: Annotated[str, typer.Argument(help="Name of the API client.")],
    scope: _Scope = None,
    certificate: _Cert = None,
) -> None:
    """Add an API client to a BRP. Prints the secret, which is shown only once."""
    body = _client(name, scope, certificate)
    _tell_secret(session, session.call(lambda client: client.post(f"/brps/{brp_id}/clients", body)))


@command(market, "rotate")
def rotate(session: Session, client_id: _Client) -> None:
    """Replace an API client's secret. The old one stops working at once."""
    _tell_secret(session, session.call(lambda client: client.post(f"/brp-clients/{client_id}/secret")))


@command(market, "revoke")
def revoke(session: Session, client_id: _Client) -> None:
    """Revoke an API client: its secret and tokens stop working."""
    session.call(lambda client: client.post(f"/brp-clients/{client_id}/revocation"))
    session.tell({"revoked": client_id}, f"Revoked {printable(client_id)}.")


@command(market, "contracts")
def contracts(session: Session) -> None:
    """List contracts."""
    rows = session.call(lambda client: client.all("/contracts"))
    session.table(rows, "id", "party_id", "programme_id", "price", "limits", "valid_from", "valid_to")


@command(market, "add-contract")
def add_contract(
    session: Session,
    brp_id: _Brp,
    programme_id: Annotated[str, typer.Argument(help="Its name, or its id.", metavar="PROGRAMME"), Noun.PROGRAMME],
    per_kwh: Annotated[str, typer.Option(help="Price per delivered kWh, such as 0.20.")] = "0",
    margin_per_kwh: Annotated[
        str, typer.Option(help="Margin per kWh, added in proportion to the use of the pool.")
    ] = "0",
    penalty_per_kwh: Annotated[str, typer.Option(help="Penalty per kWh that was ordered and not delivered.")] = "0",
    currency: Annotated[str, typer.Option(help="Currency (ISO 4217), such as EUR.")] = "EUR",
    max_power_w: Annotated[int | None, typer.Option(min=1, help="Maximum power of one order, in watts.")] = None,
    direct_orders: Annotated[bool, typer.Option("--direct-orders", help="Allow orders without an offer.")] = False,
    until: MaybeMoment = None,
) -> None:
    """Create a contract with a BRP for a programme. Prints its id."""
    body = {
        "brp_id": brp_id,
        "programme_id": programme_id,
        "limits": {"max_power_w": max_power_w, "direct_orders": direct_orders},
        "price": {
            "currency": currency,
            "per_kwh": per_kwh,
            "margin_per_kwh": margin_per_kwh,
            "penalty_per_kwh": penalty_per_kwh,
        },
        "valid_to": None if until is None else until.isoformat(),
    }
    made = session.call(lambda client: client.post("/contracts", body))
    session.tell(made, made["id"])


@command(market, "end-contract")
def end_contract(session: Session, contract_id: Annotated[str, typer.Argument(help="ctr_...")]) -> None:
    """End a contract now. What has been sold continues."""
    made = session.call(lambda client: client.post(f"/contracts/{contract_id}/end"))
    session.tell(made, f"{made['id']} ended at {made['valid_to']}.")


@command(market, "activations")
def activations(session: Session) -> None:
    """List what BRPs bought, newest first."""
    rows = session.call(lambda client: client.all("/activations"))
    session.table(rows, "id", "brp_id", "status", "direction", "starts_at", "ends_at", "dispatch_id")


@command(market, "settlements")
def settlements(
    session: Session,
    activation_id: Annotated[str | None, typer.Option("--activation", help="Only of this one.")] = None,
) -> None:
    """List what activations cost and what BRPs dispute, newest first, every version."""
    query = {"activation_id": activation_id}
    rows = session.call(lambda client: client.all("/settlements", query))
    flat = rows if session.json else [{**one, **one["figures"]} for one in rows]
    columns = ("id", "activation_id", "version", "final", "price", "penalty", "net", "currency", "dispute", "answer")
    session.table(flat, *columns)


@command(market, "answer")
def answer(
    session: Session,
    settlement_id: Annotated[str, typer.Argument(help="stl_...")],
    words: Annotated[str, typer.Argument(help="What the BRP is to read.")],
) -> None:
    """Answer the dispute of a settlement, once. What changes its figures is new data, not the answer."""
    made = session.call(lambda client: client.post(f"/settlements/{settlement_id}/answer", {"answer": words}))
    session.tell(made, f"Answered the dispute of {made['id']}.")


@command(market, "deliveries")
def deliveries(session: Session, state: Annotated[str, typer.Option(help="pending, done or dead")] = "dead") -> None:
    """List messages to BRPs. By default those that could not be delivered."""
    if state not in {"pending", "done", "dead"}:
        raise InvalidError("--state is pending, done or dead.")

    async def ask(client: "OperatorClient") -> Any:
        return await client.all("/webhook-deliveries", {"state": state})

    rows = session.call(ask)
    session.table(rows, "id", "event", "state", "tries", "last_status", "last_error", "created_at")


@command(market, "replay")
def replay(session: Session, delivery_id: Annotated[str, typer.Argument(help="whd_...")]) -> None:
    """Send a message to a BRP again."""
    made = session.call(lambda client: client.post(f"/webhook-deliveries/{delivery_id}/replay"))
    session.tell(made, made["id"])
