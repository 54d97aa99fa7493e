"""The operator's commands: they talk to the operator API, as scripts can."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from core.errors import InvalidError
from core.spans import Duration
from evenload.client import OperatorClient
from evenload.output import show

UrlOption = Annotated[str, typer.Option("--url", envvar="EVENLOAD_URL", help="The VTN's operator API.")]
TokenOption = Annotated[str, typer.Option("--token", envvar="EVENLOAD_TOKEN", help="An operator's token.")]
CaOption = Annotated[Path | None, typer.Option("--ca", envvar="EVENLOAD_CA", help="The VTN's CA, PEM.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

T = TypeVar("T")

fleet = typer.Typer(help="The VENs of a VTN.", no_args_is_help=True)
programme = typer.Typer(help="Programmes and who takes part.", no_args_is_help=True)
event = typer.Typer(help="Dispatches, their events and results.", no_args_is_help=True)
report = typer.Typer(help="Reports and readings.", no_args_is_help=True)


class Session:
    """How a command reaches the VTN. Filled by the group's callback from options and environment."""

    def __init__(self, url: str, token: str, ca: Path | None, *, json_: bool) -> None:
        self.url = url
        self.token = token
        self.ca = ca
        self.json = json_

    def call(self, work: Callable[[OperatorClient], Awaitable[T]]) -> T:
        """Run a few requests."""

        async def run() -> T:
            async with OperatorClient(f"{self.url.rstrip('/')}/v1", self.token, ca=self.ca) as client:
                return await work(client)

        if not self.token:
            raise InvalidError("No token: pass --token or set EVENLOAD_TOKEN (make one with `evenload operator add`).")
        return asyncio.run(run())


def _open(
    context: typer.Context,
    url: UrlOption = "https://localhost:8444",
    token: TokenOption = "",
    ca: CaOption = None,
    json_: JsonOption = False,
) -> None:
    """Remember how to reach the VTN."""
    context.obj = Session(url, token, ca, json_=json_)


for _group in (fleet, programme, event, report):
    _group.callback()(_open)


def attach(app: typer.Typer) -> None:
    """Add the operator's commands to the command line."""
    for name, group in (("fleet", fleet), ("programme", programme), ("event", event), ("report", report)):
        app.add_typer(group, name=name)
    app.command("status")(status)


def _print(session: Session, value: Any, text: str) -> None:
    typer.echo(json.dumps(value, default=str, indent=1) if session.json else text)


def status(
    url: UrlOption = "https://localhost:8444", token: TokenOption = "", ca: CaOption = None, json_: JsonOption = False
) -> None:
    """Say how the VTN stands: its time, its outbox, what was given up."""
    session = Session(url, token, ca, json_=json_)
    found = session.call(lambda client: client.get("/status"))
    counts = ", ".join(f"{number} {state}" for state, number in sorted(found["outbox"].items())) or "empty"
    text = f"VTN {found['vtn_id']}, {found['now']}\nVENs connect to {found['openadr_url']}\nOutbox: {counts}"
    _print(session, found, text)


# -- the fleet


@fleet.command("list")
def fleet_list(context: typer.Context) -> None:
    """List VENs."""
    session: Session = context.obj
    rows = session.call(lambda client: client.all("/vens"))
    show(rows, as_json=session.json, columns=("id", "name", "registered_at", "last_seen_at"))


@fleet.command("add")
def fleet_add(context: typer.Context, name: str, strict: Annotated[bool, typer.Option("--strict")] = False) -> None:
    """Create a VEN and print the one-time code for its gateway."""
    session: Session = context.obj
    made = session.call(lambda client: client.post("/vens", {"name": name, "strict": strict}))
    text = f"{made['ven']['id']}\nEnrolment code: {made['code']}   (evenload ven enrol {made['code']} ...)"
    _print(session, made, text)


@fleet.command("code")
def fleet_code(context: typer.Context, ven_id: str) -> None:
    """Make a new enrolment code; older ones stop working."""
    session: Session = context.obj
    made = session.call(lambda client: client.post(f"/vens/{ven_id}/enrolment-codes"))
    _print(session, made, made["code"])


@fleet.command("show")
def fleet_show(context: typer.Context, ven_id: str) -> None:
    """Show a VEN with its resources and certificates."""
    session: Session = context.obj
    found = session.call(lambda client: client.get(f"/vens/{ven_id}"))
    one = found["ven"]
    lines = [f"{key.replace('_', ' ')}: {value}" for key, value in one.items()]
    lines += [f"resource: {name}" for name in found["resources"]]
    lines += [f"certificate: {one['fingerprint']} until {one['not_after']}" for one in found["certificates"]]
    _print(session, found, "\n".join(lines))


@fleet.command("remove")
def fleet_remove(context: typer.Context, ven_id: str) -> None:
    """Retire a VEN; its data stays."""
    session: Session = context.obj
    session.call(lambda client: client.delete(f"/vens/{ven_id}"))
    typer.echo(f"Removed {ven_id}.")


@fleet.command("waiting")
def fleet_waiting(context: typer.Context) -> None:
    """List certificates of our CA that tried to speak and belong to no VEN."""
    session: Session = context.obj
    show(session.call(lambda client: client.get("/waiting-certificates")), as_json=session.json)


@fleet.command("revoke")
def fleet_revoke(context: typer.Context, fingerprint: str) -> None:
    """Revoke a VEN's certificate at once."""
    session: Session = context.obj
    session.call(lambda client: client.post(f"/certificates/{fingerprint}/revocation"))
    typer.echo(f"Revoked {fingerprint}.")


# -- programmes


@programme.command("list")
def programme_list(context: typer.Context) -> None:
    """List programmes."""
    session: Session = context.obj
    rows = session.call(lambda client: client.get("/programmes"))
    show(rows, as_json=session.json, columns=("id", "version", "name", "market_context"))


@programme.command("create")
def programme_create(
    context: typer.Context,
    name: str,
    market_context: Annotated[str, typer.Option(help="The URI by which VENs know it.")],
    notification: Annotated[str, typer.Option(help="Notice before the start.")] = "PT0S",
    start_after: Annotated[str | None, typer.Option(help="Width of the random start window.")] = None,
    time_zone: Annotated[str, typer.Option(help="IANA time zone of its homes.")] = "UTC",
) -> None:
    """Create a programme."""
    session: Session = context.obj
    parameters = {"notification": notification, "start_after": start_after, "time_zone": time_zone}
    body = {"name": name, "market_context": market_context, "parameters": parameters}
    made = session.call(lambda client: client.post("/programmes", body))
    _print(session, made, made["id"])


@programme.command("enrol")
def programme_enrol(context: typer.Context, programme_id: str, ven_id: list[str]) -> None:
    """Let VENs take part."""
    session: Session = context.obj
    path = f"/programmes/{programme_id}/enrolments"
    found = session.call(lambda client: client.post(path, {"ven_ids": ven_id}))
    _print(session, found, f"{len(found['ven_ids'])} VENs take part.")


# -- events


@event.command("dispatch")
def event_dispatch(
    context: typer.Context,
    programme_id: str,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC.")],
    duration: Annotated[str, typer.Option(help="Such as PT1H.")],
    power_w: Annotated[float, typer.Option(help="Change of consumption of each VEN, W; negative: consume less.")],
    ven_id: Annotated[
        list[str] | None, typer.Option("--ven", help="Whom to call; everybody enrolled if left out.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="Shown to the household.")] = None,
) -> None:
    """Order a change of power: one LOAD_DISPATCH/delta event per VEN."""
    session: Session = context.obj
    signal = {
        "name": "LOAD_DISPATCH",
        "type": "delta",
        "unit": "W",
        "intervals": [{"duration": str(Duration.parse(duration)), "value": power_w}],
    }
    body = {
        "programme_id": programme_id,
        "start": start.replace(tzinfo=UTC).isoformat(),
        "signals": [signal],
        "ven_ids": list(ven_id or []),
        "direction": "reduce" if power_w < 0 else "increase",
        "comment": comment,
    }
    made = session.call(lambda client: client.post("/dispatches", body))
    _print(session, made, f"{made['dispatch']['id']}: {len(made['events'])} events")


@event.command("list")
def event_list(context: typer.Context) -> None:
    """List dispatches."""
    session: Session = context.obj
    rows = session.call(lambda client: client.all("/dispatches"))
    show(rows, as_json=session.json, columns=("id", "start", "duration", "status", "created_by"))


@event.command("show")
def event_show(context: typer.Context, dispatch_id: str) -> None:
    """Show a dispatch and what its VENs answered."""
    session: Session = context.obj
    found = session.call(lambda client: client.get(f"/dispatches/{dispatch_id}"))
    if session.json:
        typer.echo(json.dumps(found, indent=1))
        return
    columns = ("ven_name", "status", "modification_number", "opt", "reason", "first_sent_at", "answered_at")
    show(found["events"], as_json=False, columns=columns)


@event.command("cancel")
def event_cancel(context: typer.Context, dispatch_id: str) -> None:
    """Cancel a dispatch and all its events."""
    session: Session = context.obj
    found = session.call(lambda client: client.post(f"/dispatches/{dispatch_id}/cancellation"))
    _print(session, found, f"Cancelled {dispatch_id}.")


@event.command("result")
def event_result(context: typer.Context, dispatch_id: str) -> None:
    """Compute and show what a dispatch brought."""
    session: Session = context.obj
    found = session.call(lambda client: client.post(f"/dispatches/{dispatch_id}/evaluation"))
    if session.json:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(
        f"Ordered {found['ordered_wh'] / 1000:.2f} kWh, delivered {found['delivered_wh'] / 1000:.2f} kWh "
        f"({found['method']}, version {found['version']})."
    )
    show(found["vens"], as_json=False, columns=("ven_name", "opt", "ordered_wh", "delivered_wh", "baseline_note"))


# -- reports


@report.command("list")
def report_list(context: typer.Context, ven_id: str) -> None:
    """List what a VEN offers and what was requested of it."""
    session: Session = context.obj
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/reports"))
    if session.json:
        typer.echo(json.dumps(found, indent=1))
        return
    show(found["offers"], as_json=False, columns=("specifier_id", "name", "duration"))
    show(
        found["requests"],
        as_json=False,
        columns=("id", "name", "granularity", "report_back", "state", "last_report_at"),
    )


@report.command("request")
def report_request(
    context: typer.Context,
    ven_id: str,
    specifier_id: str,
    r_id: Annotated[list[str], typer.Argument(help="The data points wanted.")],
    granularity: str = "PT0S",
    report_back: Annotated[str, typer.Option(help="How often; PT0S: once.")] = "PT0S",
    start: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC.")] = None,
    duration: Annotated[str | None, typer.Option(help="Span; PT0S: for ever.")] = None,
) -> None:
    """Request a report."""
    session: Session = context.obj
    body = {
        "specifier_id": specifier_id,
        "r_ids": r_id,
        "granularity": granularity,
        "report_back": report_back,
        "start": start.replace(tzinfo=UTC).isoformat() if start else None,
        "duration": duration,
    }
    made = session.call(lambda client: client.post(f"/vens/{ven_id}/report-requests", body))
    _print(session, made, made["id"])


@report.command("cancel")
def report_cancel(context: typer.Context, request_id: str) -> None:
    """Stop a report."""
    session: Session = context.obj
    found = session.call(lambda client: client.post(f"/report-requests/{request_id}/cancellation"))
    _print(session, found, f"Cancelled {request_id}.")


@report.command("readings")
def report_readings(
    context: typer.Context,
    ven_id: str,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC.")],
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC.")],
    quantity: str | None = None,
) -> None:
    """Show a VEN's readings."""
    session: Session = context.obj
    query = {
        "since": since.replace(tzinfo=UTC).isoformat(),
        "until": until.replace(tzinfo=UTC).isoformat(),
        **({"quantity": quantity} if quantity else {}),
    }
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/readings", query))
    if session.json:
        typer.echo(json.dumps(found, indent=1))
        return
    for one in found:
        typer.echo("{resource_id} {quantity} {kind} ({source})".format(**one["series"]))
        columns = ("start", "duration_s", "value", "quality")
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*(one[name] for name in columns), strict=True)]
        show(rows, as_json=False, columns=columns)
