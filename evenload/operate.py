"""The operator's commands: they talk to the operator API, as scripts can. VENs: `fleet`; reports: `reports`."""

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidError
from core.spans import Duration
from evenload import event_target
from evenload.names import Noun
from evenload.output import say_learning, say_odd, say_unknown
from evenload.printable import printable
from evenload.session import MaybeMoment, Moment, Session, Yes, command, confirm, open_group

if TYPE_CHECKING:
    from evenload.client import OperatorClient

programme = typer.Typer(help="Programmes and enrolments.", no_args_is_help=True)
event = typer.Typer(help="Dispatches, their events and results.", no_args_is_help=True)
desk = typer.Typer()
"""Commands that belong to no group."""
programme.callback()(open_group)
event.callback()(open_group)

_ProgrammeId = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="PROGRAMME"), Noun.PROGRAMME]
_VenIds = Annotated[list[str], typer.Argument(help="Names or venIDs.", metavar="VEN..."), Noun.VEN]
_DispatchId = Annotated[
    str,
    typer.Argument(
        help="Its id, as `evenload event list` shows it, or the name of its programme if it is the only one.",
        metavar="DISPATCH",
    ),
    Noun.DISPATCH,
]


@command(desk, "status")
def status(session: Session) -> None:
    """Show the state of the VTN: its time, its outbox and undelivered messages."""
    found = session.call(lambda client: client.get("/status"))
    counts = ", ".join(f"{number} {state}" for state, number in sorted(found["outbox"].items())) or "empty"
    text = f"VTN {found['vtn_id']}, {found['now']}\nVENs connect to {found['openadr_url']}\nOutbox: {counts}"
    session.tell(found, text)
    if found["dead"] and not session.json:
        typer.echo("Given up, newest first:")
        session.table(found["dead"], "ven_id", "kind", "subject", "tries", "created_at")


@command(desk, "audit")
def audit(
    session: Session, limit: Annotated[int, typer.Option(min=1, max=500, help="Number of changes to show.")] = 50
) -> None:
    """List the latest changes: who did what."""
    found = session.call(lambda client: client.get("/audit", {"limit": limit}))
    session.table(found["items"], "at", "who", "action", "subject")


# -- programmes


@command(programme, "list")
def programme_list(session: Session) -> None:
    """List programmes."""
    rows = session.call(lambda client: client.all("/programmes"))
    session.table(rows, "id", "version", "name", "market_context")


@command(programme, "show")
def programme_show(session: Session, programme_id: _ProgrammeId) -> None:
    """Show a programme, its parameters and the VENs that take part."""

    async def ask(client: "OperatorClient") -> dict[str, Any]:
        one: dict[str, Any] = await client.get(f"/programmes/{programme_id}")
        here = f"/programmes/{programme_id}"
        return {**one, **await client.get(f"{here}/enrolments"), "learning": await client.get(f"{here}/learning")}

    found = session.call(ask)
    if session.json:
        session.tell(found, "")
        return
    learning = found.pop("learning")
    session.table({**found, **found["parameters"], "parameters": None})
    say_learning(learning)


_SPREAD = "How readings longer than that count: evenly, or by_order (where something was ordered)."
_SETTLEMENT = "Length of the intervals in which delivery is settled: PT5M, PT15M, PT30M or PT1H."
_COUNTRY = "Country (ISO 3166-1) whose public holidays are no weekdays, such as DE; empty: none."
_SUBDIVISION = "Its part (ISO 3166-2 without the country), such as BY; empty: none."
_CONTROL = "Group of VENs that are never called, so that others can be held against them; empty: none."


def _given(options: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


@command(programme, "templates")
def programme_templates(session: Session) -> None:
    """List the kinds of programmes that `programme create --template` knows."""
    rows = session.call(lambda client: client.all("/programme-templates"))
    session.table(rows, "id", "title", "summary")


@command(programme, "create")
def programme_create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name.")],
    market_context: Annotated[str, typer.Option(help="The URI by which VENs know it, such as http://example.com/dr.")],
    notification: Annotated[
        str | None, typer.Option(help="Notice before the start, such as PT30M.", show_default="none")
    ] = None,
    start_after: Annotated[str | None, typer.Option(help="Width of the random start window.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="IANA time zone of its homes, such as Europe/London.", show_default="UTC")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Preset by which delivery is computed, such as mid8of10.")
    ] = None,
    settlement_interval: Annotated[str | None, typer.Option(help=_SETTLEMENT)] = None,
    spread: Annotated[str | None, typer.Option(help=_SPREAD)] = None,
    country: Annotated[str | None, typer.Option(help=_COUNTRY)] = None,
    subdivision: Annotated[str | None, typer.Option(help=_SUBDIVISION)] = None,
    control_group: Annotated[str | None, typer.Option(help=_CONTROL)] = None,
    template: Annotated[
        str | None,
        typer.Option(help="Begin with one of `evenload programme templates`; what else you say counts."),
    ] = None,
) -> None:
    """Create a programme."""
    given = {
        "notification": notification,
        "start_after": start_after,
        "time_zone": time_zone,
        "baseline": baseline,
        "settlement_interval": settlement_interval,
        "spread": spread,
        "country": country,
        "subdivision": subdivision,
        "control_group": control_group,
    }
    body = {"name": name, "market_context": market_context, "template": template, "parameters": _given(given)}
    made = session.call(lambda client: client.post("/programmes", body))
    session.tell(made, made["id"])


@command(programme, "change")
def programme_change(
    session: Session,
    programme_id: _ProgrammeId,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    notification: Annotated[str | None, typer.Option(help="Notice before the start.")] = None,
    start_after: Annotated[str | None, typer.Option(help="Width of the random start window; PT0S: none.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA time zone of its homes.")] = None,
    baseline: Annotated[str | None, typer.Option(help="Preset by which delivery is computed.")] = None,
    settlement_interval: Annotated[str | None, typer.Option(help=_SETTLEMENT)] = None,
    spread: Annotated[str | None, typer.Option(help=_SPREAD)] = None,
    country: Annotated[str | None, typer.Option(help=_COUNTRY)] = None,
    subdivision: Annotated[str | None, typer.Option(help=_SUBDIVISION)] = None,
    control_group: Annotated[str | None, typer.Option(help=_CONTROL)] = None,
) -> None:
    """Change a programme for future dispatches. Existing dispatches keep their version."""
    changes: dict[str, str | None] = {
        "notification": notification,
        "start_after": start_after,
        "time_zone": time_zone,
        "baseline": baseline,
        "settlement_interval": settlement_interval,
        "spread": spread,
    }
    changes = {name: value for name, value in changes.items() if value is not None}
    if country is not None:  # another country has other parts
        changes |= {"country": country or None, "subdivision": None}
    if subdivision is not None:
        changes["subdivision"] = subdivision or None
    if control_group is not None:
        changes["control_group"] = control_group or None

    async def change(client: "OperatorClient") -> Any:
        path = f"/programmes/{programme_id}"
        old = await client.get(path)
        return await client.put(path, {"name": name or old["name"], "parameters": {**old["parameters"], **changes}})

    made = session.call(change)
    session.tell(made, f"{made['id']} is at version {made['version']}.")


@command(programme, "enrol")
def programme_enrol(
    session: Session,
    programme_id: _ProgrammeId,
    ven_id: _VenIds,
) -> None:
    """Enrol VENs in a programme, from now on."""
    path = f"/programmes/{programme_id}/enrolments"
    found = session.call(lambda client: client.post(path, {"ven_ids": ven_id}))
    number = len(found["ven_ids"])
    session.tell(found, f"{number} {'VEN takes' if number == 1 else 'VENs take'} part.")


@command(programme, "end")
def programme_end(session: Session, programme_id: _ProgrammeId, ven_id: _VenIds, yes: Yes = False) -> None:
    """End the enrolment of VENs, after asking. Calls already sent continue."""
    number = len(ven_id)
    text = f"{number} {'VEN takes' if number == 1 else 'VENs take'} part no longer."
    confirm(text, question="End it?", yes=yes)

    async def end(client: "OperatorClient") -> None:
        for one in ven_id:
            await client.delete(f"/programmes/{programme_id}/enrolments/{one}")

    session.call(end)
    session.tell({"ended": ven_id}, text)


@command(programme, "control-group")
def programme_control_group(
    session: Session,
    programme_id: _ProgrammeId,
    share: Annotated[float, typer.Option(help="Per cent of the VENs that take part, up to 50.")],
    seed: Annotated[
        int | None, typer.Option(help="The same seed draws the same of the same VENs.", show_default="any")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the new group.", show_default="that of the programme")
    ] = None,
) -> None:
    """Draw a control group by chance out of the VENs that take part: they are called no longer."""
    body = {"share": share, "seed": seed, "name": name}
    drawn = session.call(lambda client: client.post(f"/programmes/{programme_id}/control-group", body))
    session.tell(
        drawn,
        f"{drawn['members']} of {drawn['enrolled']} VENs are in the control group '{printable(drawn['group'])}' "
        f"({drawn['group_id']}), drawn with seed {drawn['seed']}.",
    )


@command(programme, "baselines")
def programme_baselines(
    session: Session,
    programme_id: _ProgrammeId,
    start: Annotated[str, typer.Option(help="Local time at which the hours begin, such as 17:00.")],
    duration: Annotated[str, typer.Option(help="Length of the hours, such as PT2H.")],
    *,
    weekend: Annotated[bool, typer.Option("--weekend", help="Compare on weekends instead of weekdays.")] = False,
) -> None:
    """Compare the baseline presets on the programme's own homes, on days without events. Takes a few seconds."""
    query = {"start": start, "duration": duration, "days": "weekend" if weekend else "weekday"}
    found = session.call(lambda client: client.get(f"/programmes/{programme_id}/baselines", query))
    if session.json:
        session.tell(found, "")
        return
    if not found["enrolled"]:
        typer.echo("No VEN takes part in this programme. Enrol some with `evenload programme enrol`.")
        return
    known = [one for one in found["presets"] if one["pool_rmse"] is not None]
    if not known:
        typer.echo(
            "No home has enough history: a preset needs readings of at least five similar days before the day it is "
            "tried on. Request the VENs' history with `evenload report request` (HISTORY_USAGE), or wait."
        )
        return
    typer.echo(
        f"{found['vens']} of {found['enrolled']} VENs. Errors on days without events, in per cent of what the homes "
        f"used in these hours. In use: {found['in_use']}."
    )
    session.table(
        [
            {
                "preset": one["preset"],
                "pool_error": _percent(one["pool_rmse"]),
                "bias": _percent(one["bias"], "+"),
                "home_error": _percent(one["home_rmse"]),
                "days": one["days"],
            }
            for one in known
        ],
        *("preset", "pool_error", "bias", "home_error", "days"),
    )
    for one in found["presets"]:
        if one["why_unknown"] == "no control group":
            typer.echo(f"{one['preset']}: the programme has no control group.")
    typer.echo(
        "Pool error: the typical error of an event, of all homes together. Bias: the mean error, above 0 if the "
        "baseline is too high; it does not cancel out, however many homes there are. Home error: the typical error of "
        "a single home."
    )


@command(programme, "season")
def programme_season(
    session: Session,
    programme_id: _ProgrammeId,
    first: Annotated[str | None, typer.Option(help="First local day, such as 2026-01-01. Default: 90 days.")] = None,
    until: Annotated[str | None, typer.Option(help="Local day before which it ends. Default: today counts.")] = None,
    *,
    vens: Annotated[bool, typer.Option("--vens", help="List VENs instead of events.")] = False,
) -> None:
    """Show what a programme's events of some months brought, or what each VEN did in them."""
    path, query = f"/programmes/{programme_id}/season", {"first": first, "until": until}
    if vens:
        rows = session.call(lambda client: client.all(f"{path}/vens", query))
        columns = ("ven_id", "name", "calls", "opt_outs", "measured", "ordered_wh", "delivered_wh")
        session.table(rows, *columns, "compared", "flagged", "excess_w", "systematic")
        return
    found = session.call(lambda client: client.get(path, query))
    if session.json:
        session.tell(found, "")
        return
    sums, span = found["sums"], found["span"]
    share = "" if sums["ratio"] is None else f" ({sums['ratio']:.0%})"
    width = "" if sums["uncertainty_wh"] is None else f" \N{PLUS-MINUS SIGN} {sums['uncertainty_wh'] / 1000:.2f}"
    typer.echo(
        f"{span['first']} to before {span['until']}: {sums['events']} events, "
        f"of {sums['measured']} the delivery is known. "
        f"Delivered {sums['delivered_wh'] / 1000:.2f}{width} of {sums['ordered_wh'] / 1000:.2f} kWh{share}, "
        f"{sums['opted_out']} opt-outs of {sums['called']} calls."
    )
    columns = "starts_at", "dispatch_id", "final", "ordered_wh", "delivered_wh", "uncertainty_wh", "ratio"
    session.table(found["events"], *columns, "participation_rate", "opted_out")


def _percent(share: float, sign: str = "") -> str:
    text = f"{100 * share:{sign}.1f}"
    return "0.0" if not text.strip("+-0.") else text


# -- events


@command(event, "dispatch")
def event_dispatch(
    session: Session,
    programme_id: _ProgrammeId,
    start: Moment,
    duration: Annotated[
        str | None, typer.Option(help="Duration such as PT1H. PT0S: until cancelled. Goes with --power-w.")
    ] = None,
    power_w: Annotated[
        float | None, typer.Option(help="Change of each VEN's consumption in watts. Negative: consume less.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Send the signals of one of `evenload programme templates` instead.")
    ] = None,
    ven_id: Annotated[
        list[str] | None,
        typer.Option("--ven", help="VEN to call (name or venID). Repeatable. Default: everybody enrolled."),
        Noun.VEN,
    ] = None,
    group_id: Annotated[
        list[str] | None,
        typer.Option("--group", help="Call the VENs of this group (name or id), too. Repeatable."),
        Noun.GROUP,
    ] = None,
    area: Annotated[
        list[str] | None, typer.Option("--area", help="Call the VENs that stand in this area, too. Repeatable.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option("--target", help=event_target.HELP)] = None,
    comment: Annotated[str | None, typer.Option(help="Shown to the household.")] = None,
    yes: Yes = False,
) -> None:
    """Order a change of power, one LOAD_DISPATCH/delta event per VEN, or send the signals of a template.

    Asks first if anything speaks against it.
    """
    if template is None:
        signals, direction = [_power(duration, power_w)], "reduce" if (power_w or 0) < 0 else "increase"
    elif duration is not None or power_w is not None:
        raise InvalidError("A template has its own signals: leave out --duration and --power-w.")
    else:
        signals, direction = session.call(lambda client: _signals_of(client, template)), None
    body = {
        "programme_id": programme_id,
        "start": start.isoformat(),
        "signals": signals,
        "ven_ids": list(ven_id or []),
        "group_ids": list(group_id or []),
        "areas": list(area or []),
        "direction": direction,
        "comment": comment,
        **event_target.target_fields(target or ()),
    }
    warnings = session.call(lambda client: client.post("/dispatches/check", body))["warnings"]
    if warnings:
        confirm(*warnings, question="Order it anyway?", yes=yes)
    made = session.call(lambda client: client.post("/dispatches", body))
    number = len(made["events"])
    session.tell(made, f"{made['dispatch']['id']}: {number} {'event' if number == 1 else 'events'}")


def _power(duration: str | None, power_w: float | None) -> dict[str, Any]:
    """Return the signal that changes a VEN's power for so long."""
    if duration is None or power_w is None:
        raise InvalidError("Say --duration and --power-w, or --template.")
    if not power_w:
        raise InvalidError("--power-w 0 orders nothing; negative means consume less, positive consume more.")
    interval = {"duration": str(Duration.parse(duration)), "value": power_w}
    return {"name": "LOAD_DISPATCH", "type": "delta", "unit": "W", "intervals": [interval]}


async def _signals_of(client: "OperatorClient", template: str) -> Any:
    """Return the signals of a template. Raises InvalidError, naming those that there are."""
    there = {row["id"]: row["signals"] for row in await client.all("/programme-templates")}
    if template not in there:
        raise InvalidError(f"There is no template '{template}'; there are {', '.join(there)}.")
    return there[template]


@command(event, "dispute")
def event_dispute(
    session: Session,
    dispatch_id: _DispatchId,
    reason: Annotated[str, typer.Argument(help="Why it is not right.")],
) -> None:
    """Dispute a final result: it is computed anew with the data of now, and may change again."""
    session.call(lambda client: client.post(f"/dispatches/{dispatch_id}/dispute", {"reason": reason}))
    session.tell({"disputed": dispatch_id}, "The result is open again; a new version comes within a minute.")


@command(event, "list")
def event_list(session: Session) -> None:
    """List dispatches."""
    rows = session.call(lambda client: client.all("/dispatches"))
    session.table(rows, "id", "start", "duration", "status", "created_by")


@command(event, "show")
def event_show(session: Session, dispatch_id: _DispatchId) -> None:
    """Show a dispatch and the answers of its VENs."""
    found = session.call(lambda client: client.get(f"/dispatches/{dispatch_id}"))
    one = found["dispatch"]
    if not session.json:
        typer.echo(f"{one['id']}: {one['start']}, {one['duration']}, {one['status']}")
        if words := event_target.target_words(one):
            typer.echo(printable(f"For {words}"))
    columns = ("ven_name", "status", "modification_number", "opt", "reason", "first_sent_at", "answered_at")
    session.table(found if session.json else found["events"], *columns)


@command(event, "change")
def event_change(
    session: Session,
    dispatch_id: _DispatchId,
    start: MaybeMoment = None,
    duration: Annotated[str | None, typer.Option(help="Duration from its start, such as PT2H.")] = None,
    power_w: Annotated[
        float | None, typer.Option(help="New power in watts. For a running dispatch it applies from the next minute.")
    ] = None,
) -> None:
    """Change start, length or power of a dispatch made by `event dispatch`. VENs get it when they poll, or by push."""
    if start is None and duration is None and power_w is None:
        raise InvalidError("Say what to change: --start, --duration or --power-w.")

    async def change(client: "OperatorClient") -> Any:
        path = f"/dispatches/{dispatch_id}"
        old = (await client.get(path))["dispatch"]
        body: dict[str, Any] = {} if start is None else {"start": start.isoformat()}
        if duration is not None or power_w is not None:
            now = datetime.fromisoformat((await client.get("/status"))["now"])
            body["signals"] = [_changed(old, start, now, duration, power_w)]
        return await client.patch(path, body)

    made = session.call(change)
    one = made["dispatch"]
    session.tell(made, f"{one['id']}: {one['start']}, {one['duration']}.")


def _changed(
    old: dict[str, Any], start: datetime | None, now: datetime, duration: str | None, power_w: float | None
) -> dict[str, Any]:
    """Return a dispatch's signal with another length or power. What has elapsed stays as it was (EV-34)."""
    (signal, *others) = old["signals"]
    if others or len(signal["intervals"]) != 1:
        raise InvalidError("This dispatch has several signals or intervals; change it in the console or over REST.")
    (interval,) = signal["intervals"]
    length = Duration.parse(duration or interval["duration"])
    begins = start or datetime.fromisoformat(old["start"])
    cut = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if power_w is None or begins >= now:
        intervals = [(length, interval["value"] if power_w is None else power_w)]
    elif length and cut >= length.after(begins):
        raise InvalidError("It is over before the next minute; to end it now, cancel it.")
    else:
        left = Duration.between(cut, length.after(begins)) if length else length
        intervals = [(Duration.between(begins, cut), interval["value"]), (left, power_w)]
    return {**signal, "intervals": [{"duration": str(each), "value": value} for each, value in intervals]}


@command(event, "cancel")
def event_cancel(session: Session, dispatch_id: _DispatchId) -> None:
    """Cancel a dispatch and all its events."""
    found = session.call(lambda client: client.post(f"/dispatches/{dispatch_id}/cancellation"))
    session.tell(found, f"Cancelled {dispatch_id}.")


@command(event, "result")
def event_result(
    session: Session,
    dispatch_id: _DispatchId,
    anew: Annotated[bool, typer.Option("--anew", help="Compute it from the readings available now.")] = False,
) -> None:
    """Show the result of a dispatch. It is computed after the end, and again when late readings come in."""
    from evenload.client import RequestError  # noqa: PLC0415  help needs no client

    async def ask(client: "OperatorClient") -> Any:
        if not anew:
            with contextlib.suppress(RequestError):
                return await client.get(f"/dispatches/{dispatch_id}/result")
        return await client.post(f"/dispatches/{dispatch_id}/evaluation")

    found = session.call(ask)
    if not session.json:
        ordered = f"Ordered {found['ordered_wh'] / 1000:.2f} kWh" if found["ordered_wh"] else "No power was ordered"
        delivered = (
            "what was delivered is not known yet"
            if found["delivered_wh"] is None
            else f"delivered {found['delivered_wh'] / 1000:.2f} kWh"
        )
        typer.echo(f"{ordered}, {delivered} ({found['method']}, version {found['version']}).")
        say_unknown(found)
        say_odd(found["vens"])
    columns = ("ven_name", "opt", "ordered_wh", "delivered_wh", "performance_ratio", "baseline_note", "flags")
    rows = [{**ven, "flags": ", ".join(ven.get("flags", ()))} for ven in found["vens"]]
    session.table(found if session.json else rows, *columns)


@command(event, "self-assessments")
def event_self_assessments(session: Session, dispatch_id: _DispatchId) -> None:
    """Show what the VENs themselves say that a dispatch brought, and whether its result agrees. It settles nothing."""
    found = session.call(lambda client: client.get(f"/dispatches/{dispatch_id}/self-assessments"))
    if not session.json:
        counts = f"{found['agreeing']} agree, {found['disputed']} differ, {found['silent']} say nothing"
        typer.echo(f"Result, version {found['version']}: {counts}.")
    columns = ("ven_name", "own_wh", "result_wh", "difference_wh", "tolerance_wh", "agrees", "coverage")
    session.table(found if session.json else found["vens"], *columns, empty="No VEN says anything.")
