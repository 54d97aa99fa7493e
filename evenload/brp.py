"""`evenload brp`: what a balance responsible party does over the BRP API, as scripts can. JSON with --json."""

import csv
import json
import sys
from datetime import timedelta
from typing import Annotated, Any

import typer

from core.errors import InvalidError
from core.spans import Duration
from evenload.brp_baseline import baseline
from evenload.brp_client import BrpClient
from evenload.brp_session import BrpSession, Contract, command, contract_of
from evenload.output import say_learning, say_unknown
from evenload.printable import printable
from evenload.session import MaybeMoment, Moment
from evenload.statements import brp_statement

_Direction = Annotated[str, typer.Option(help="reduce or increase consumption.")]
_Length = Annotated[str, typer.Option(help="Such as PT1H or PT15M.")]
_Activation = Annotated[str, typer.Argument(help="As `evenload brp activations` shows it.")]

_Subscription = Annotated[str, typer.Argument(help="As `evenload brp webhook list` shows it.")]

brp = typer.Typer(help="Buy flexibility as a balance responsible party.", no_args_is_help=True)
webhook = typer.Typer(help="Webhooks: where messages are sent.", no_args_is_help=True)
brp.add_typer(baseline, name="baseline")
brp.add_typer(brp_statement, name="statement")
brp.add_typer(webhook, name="webhook")


# -- what there is


@command(brp, "me")
def me(session: BrpSession) -> None:
    """Show who you are, what you may do and which contracts you have."""
    found = session.get("/me")
    if session.json:
        session.tell(found, "")
        return
    typer.echo(printable(f"{found['name']} ({found['party_id']}), world time {found['now']}"))
    typer.echo(f"May: {' '.join(found['scopes'])}")
    rows = [{**one, **one["price"], **one["limits"]} for one in found["contracts"]]
    columns = ("id", "programme_id", "currency", "per_kwh", "max_power_w", "direct_orders", "valid_to")
    session.table(rows, *columns, empty="No contract yet.")


@command(brp, "programmes")
def programmes(session: BrpSession) -> None:
    """List the programmes of your contracts."""
    session.table(
        session.call(lambda client: client.all("/programmes")), "id", "name", "product", "notification", "time_zone"
    )


@command(brp, "potential")
def potential(
    session: BrpSession,
    start: Moment,
    duration: _Length = "PT1H",
    direction: _Direction = "reduce",
    area: Annotated[str | None, typer.Option(help="Only homes in this area.")] = None,
    confidence: Annotated[float, typer.Option(help="0.5 to 0.999.")] = 0.9,
    contract: Contract = None,
) -> None:
    """Show how much flexibility is available."""
    query = {
        "from": start,
        "until": start + _length(duration),
        "direction": direction,
        "area": area,
        "confidence": confidence,
    }

    async def ask(client: BrpClient) -> Any:
        return await client.get("/portfolio/potential", {"contract_id": await contract_of(client, contract), **query})

    found = session.call(ask)
    columns = ("start", "p10_w", "p50_w", "p90_w", "at_confidence_w", "available_w")
    session.table(found if session.json else found["intervals"], *(() if session.json else columns))
    if not session.json:
        say_learning(found["learning"])


# -- request, offer, accept


@command(brp, "request")
def request(
    session: BrpSession,
    start: Moment,
    power_w: Annotated[int, typer.Option(min=1, help="Maximum power to request, in watts.")],
    duration: _Length = "PT1H",
    direction: _Direction = "reduce",
    min_power_w: Annotated[int, typer.Option(min=0, help="Minimum power that is useful, in watts.")] = 0,
    deadline: MaybeMoment = None,
    max_price: Annotated[str | None, typer.Option(help="Maximum price per kWh, such as 0.40.")] = None,
    area: Annotated[str | None, typer.Option(help="Only homes in this area.")] = None,
    reason: Annotated[str | None, typer.Option(help="A comment.")] = None,
    contract: Contract = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the answer.")] = False,
) -> None:
    """Request flexibility. Prints the request's id; with --wait the answer, and fails if there is no offer."""
    interval = {
        "start": start.isoformat(),
        "duration_s": round(_length(duration).total_seconds()),
        "min_w": min_power_w,
        "max_w": power_w,
    }
    body = {
        "direction": direction,
        "intervals": [interval],
        "deadline": (deadline or start).isoformat(),
        "max_price": max_price,
        "area": area,
        "reason": reason,
    }

    async def ask(client: BrpClient) -> Any:
        made = await client.post("/flexibility-requests", {"contract_id": await contract_of(client, contract), **body})
        if not wait:
            return made
        path = f"/flexibility-requests/{made['id']}"
        found = await client.until(path, lambda row: row["status"] != "received")
        offers = [await client.get(f"/flexibility-offers/{one}") for one in found["offer_ids"]]
        return {**found, "offers": offers}

    made = session.call(ask)
    if session.json or not wait:
        session.tell(made, made["id"])
    else:
        _show_answer(session, made)
    if wait and made["status"] != "offered":
        if session.json:
            typer.echo(printable(f"{made['status']}: {made['status_reason'] or 'no reason given'}"), err=True)
        raise typer.Exit(1)


def _show_answer(session: BrpSession, answered: Any) -> None:
    """Print what became of a request: its offers, or why there are none and what would be possible."""
    typer.echo(printable(f"{answered['id']}: {answered['status']}. {answered['status_reason'] or ''}".strip()))
    if answered["offers"]:
        _show_offers(session, answered["offers"])
        return
    possible = answered["possible_w"] or []
    if any(possible):
        typer.echo("What would be possible:")
        pairs = zip(answered["intervals"], possible, strict=False)
        session.table([{**one, "possible_w": watts} for one, watts in pairs], "start", "min_w", "max_w", "possible_w")
    elif possible:
        typer.echo("Nothing is possible in that time; see `evenload brp potential` for when it is.")


@command(brp, "requests")
def requests(session: BrpSession) -> None:
    """List your requests, newest first."""
    rows = session.call(lambda client: client.all("/flexibility-requests"))
    session.table(rows, "id", "status", "direction", "deadline", "status_reason", "offer_ids")


@command(brp, "offers")
def offers(
    session: BrpSession, status: Annotated[str | None, typer.Option(help="open, accepted, revoked or expired")] = None
) -> None:
    """List the offers to you, newest first."""
    rows = session.call(lambda client: client.all("/flexibility-offers", {"status": status}))
    if session.json:
        session.table(rows)
    else:
        _show_offers(session, rows)


def _show_offers(session: BrpSession, rows: list[Any]) -> None:
    flat = [
        {
            "offer": one["id"],
            "status": one["status"],
            "option": option["id"],
            "start": option["intervals"][0]["start"],
            "power_w": max(interval["power_w"] for interval in option["intervals"]),
            "price": f"{option['price']} {option['currency']}",
            "factor from": option["min_activation_factor"],
            "until": one["expires_at"],
        }
        for one in rows
        for option in one["options"]
    ]
    session.table(flat, empty="No offer yet.")


@command(brp, "accept")
def accept(
    session: BrpSession,
    offer_id: Annotated[str, typer.Argument(help="As `evenload brp offers` shows it.")],
    option: Annotated[str, typer.Option(help="Which option to accept.")] = "full",
    factor: Annotated[float, typer.Option(help="Share of its power, up to 1.")] = 1.0,
) -> None:
    """Accept an offer. Prints the activation's id."""
    body = {"option_id": option, "activation_factor": factor}
    made = session.call(lambda client: client.post(f"/flexibility-offers/{offer_id}/acceptance", body))
    session.tell(made, made["id"])


# -- activations


@command(brp, "order")
def order(
    session: BrpSession,
    start: Moment,
    power_w: Annotated[int, typer.Option(min=1, help="Power in watts.")],
    duration: _Length = "PT1H",
    direction: _Direction = "reduce",
    reason: Annotated[str | None, typer.Option(help="A comment.")] = None,
    contract: Contract = None,
) -> None:
    """Order directly, where the contract allows it. Prints the activation's id."""
    seconds = round(_length(duration).total_seconds())
    interval = {"start": start.isoformat(), "duration_s": seconds, "power_w": power_w}
    body = {"direction": direction, "intervals": [interval], "reason": reason}

    async def ask(client: BrpClient) -> Any:
        return await client.post("/activations", {"contract_id": await contract_of(client, contract), **body})

    made = session.call(ask)
    session.tell(made, made["id"])


@command(brp, "activations")
def activations(session: BrpSession) -> None:
    """List your activations, newest first."""
    rows = session.call(lambda client: client.all("/activations"))
    session.table(rows, "id", "status", "direction", "starts_at", "ends_at", "modification_number", "price_per_kwh")


@command(brp, "watch")
def watch(
    session: BrpSession,
    activation_id: _Activation,
    every_s: Annotated[float, typer.Option(min=0.2, help="How often to check.")] = 5.0,
) -> None:
    """Follow an activation until it is over: a line each time, or with --json an object a line."""

    async def follow(client: BrpClient) -> None:
        async for one in client.watch(f"/activations/{activation_id}/live", every_s):
            delivered = "?" if one["delivered_w"] is None else f"{one['delivered_w']}"
            line = (
                f"{one['at']}  {one['status']:<9}  ordered {one['ordered_w']} W  delivered {delivered} W  "
                f"called {one['called']}  in {one['opted_in']}  out {one['opted_out']}  silent {one['silent']}"
            )
            typer.echo(json.dumps(one) if session.json else printable(line))
            sys.stdout.flush()
            if one["status"] in {"completed", "cancelled"}:
                return

    session.call(follow)


@command(brp, "change")
def change(
    session: BrpSession,
    activation_id: _Activation,
    power_w: Annotated[int, typer.Option(min=1, help="Power to order from now on, at most what was accepted.")],
) -> None:
    """Reduce an activation that has not begun."""

    async def ask(client: BrpClient) -> Any:
        path = f"/activations/{activation_id}"
        old = await client.get(path)
        body = {
            "intervals": [{**one, "power_w": min(one["power_w"], power_w)} for one in old["intervals"]],
            "modification_number": old["modification_number"],
        }
        return await client.patch(path, body, if_match="*")  # the number is what guards against a lost change

    made = session.call(ask)
    session.tell(made, f"{made['id']} is at modification {made['modification_number']}.")


@command(brp, "cancel")
def cancel(
    session: BrpSession,
    thing_id: Annotated[str, typer.Argument(help="An activation (act_...) or a request (frq_...).")],
    reason: Annotated[str | None, typer.Option(help="A comment.")] = None,
) -> None:
    """End an activation now, or withdraw a request."""
    kind = {"act": "activations", "frq": "flexibility-requests"}.get(thing_id.partition("_")[0])
    if kind is None:
        raise InvalidError(f"'{printable(thing_id[:80])}' is no activation (act_...) and no request (frq_...).")
    made = session.call(lambda client: client.post(f"/{kind}/{thing_id}/cancellation", {"reason": reason}))
    session.tell(made, f"{made['id']} is {made['status']}.")


# -- results


@command(brp, "report")
def report(
    session: BrpSession,
    activation_id: _Activation,
    version: Annotated[int | None, typer.Option(min=1, help="Version of the report. Default: the newest.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the intervals as CSV.")] = False,
) -> None:
    """Show what an activation delivered."""
    query = {"version": version}
    found = session.call(lambda client: client.get(f"/activations/{activation_id}/report", query))
    rows = found["intervals"]
    if as_csv:
        which = {name: found[name] for name in ("activation_id", "version", "direction", "method")}
        writer = csv.DictWriter(sys.stdout, [*which, *(rows[0] if rows else ["start"])])
        writer.writeheader()
        writer.writerows(which | row for row in rows)
        return
    if session.json:
        session.tell(found, "")
        return
    width = "" if found["uncertainty_wh"] is None else f" ± {found['uncertainty_wh']}"
    delivered = (
        f"what was delivered of {found['ordered_wh']} Wh is not known yet"
        if found["delivered_wh"] is None
        else f"delivered {found['delivered_wh']}{width} of {found['ordered_wh']} Wh"
    )
    typer.echo(
        printable(
            f"Version {found['version']}{_finality(found)}, {found['method']}: {delivered}, "
            f"{found['called']} called, {found['opted_out']} opted out, coverage {found['coverage']:.0%}"
        )
    )
    say_unknown(found)
    if found["unadjusted"]:
        typer.echo(f"{found['unadjusted']} of the baselines lack their same-day adjustment.")
    session.table(
        rows, "number", "local_start", "ordered_w", "baseline_w", "actual_w", "delivered_w", "deficiency_w", "coverage"
    )


def _finality(report: dict[str, Any]) -> str:
    if report["final"]:
        return " (final)"
    return f" (provisional, final at {report['final_at']})" if report["final_at"] else " (provisional)"


@command(brp, "settlements")
def settlements(session: BrpSession) -> None:
    """List what activations cost, newest first, every version."""
    rows = session.call(lambda client: client.all("/settlements"))
    if session.json:
        session.table(rows)
        return
    flat = [{**one, **one["figures"]} for one in rows]
    columns = "id", "activation_id", "version", "report_version", "final", "final_at"
    session.table(flat, *columns, "delivered_kwh", "price", "penalty", "net", "currency")


@command(brp, "tariffs")
def tariffs(session: BrpSession) -> None:
    """List tariffs."""
    rows = session.call(lambda client: client.all("/tariffs"))
    session.table(rows, "id", "kind", "name", "area", "currency", "vat_included")


# -- webhooks


@command(webhook, "add")
def webhook_add(
    session: BrpSession,
    address: Annotated[str, typer.Argument(help="An https address that can be reached from the internet.")],
    event: Annotated[
        list[str] | None, typer.Option(help="Event type such as offer.created or offer.*. Repeatable.")
    ] = None,
) -> None:
    """Subscribe to messages. Prints the secret that signs them; it is shown only once."""
    body = {"url": address, "events": event or []}
    made = session.call(lambda client: client.post("/webhook-subscriptions", body))
    session.tell(made, made["secret"])


@command(webhook, "list")
def webhook_list(session: BrpSession) -> None:
    """List your subscriptions."""
    session.table(session.call(lambda client: client.all("/webhook-subscriptions")), "id", "url", "events")


@command(webhook, "remove")
def webhook_remove(session: BrpSession, subscription_id: _Subscription) -> None:
    """End a subscription."""
    session.call(lambda client: client.delete(f"/webhook-subscriptions/{subscription_id}"))
    session.tell({"removed": subscription_id}, f"Removed {subscription_id}.")


@command(webhook, "test")
def webhook_test(session: BrpSession, subscription_id: _Subscription) -> None:
    """Send a test message."""
    made = session.call(lambda client: client.post(f"/webhook-subscriptions/{subscription_id}/test"))
    session.tell(made, made["id"])


@command(webhook, "deliveries")
def webhook_deliveries(
    session: BrpSession, state: Annotated[str | None, typer.Option(help="pending, done or dead")] = None
) -> None:
    """List messages and their state, newest first."""
    rows = session.call(lambda client: client.all("/webhook-deliveries", {"state": state}))
    session.table(rows, "id", "event", "state", "tries", "last_status", "last_error", "created_at")


@command(webhook, "replay")
def webhook_replay(
    session: BrpSession,
    delivery_id: Annotated[str, typer.Argument(help="As `evenload brp webhook deliveries` shows it.")],
) -> None:
    """Send a message again."""
    made = session.call(lambda client: client.post(f"/webhook-deliveries/{delivery_id}/replay"))
    session.tell(made, made["id"])


def _length(text: str) -> timedelta:
    length = Duration.parse(text)
    if length.months or length.seconds <= 0:
        raise InvalidError(f"'{printable(text[:40])}' is no length such as PT1H.")
    return timedelta(seconds=length.seconds)
