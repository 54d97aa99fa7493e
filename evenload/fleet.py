"""`evenload fleet`: the VENs of a VTN, their codes and certificates."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidError
from evenload import messages
from evenload.names import Noun
from evenload.session import Session, Yes, command, confirm, open_group
from openadr.fingerprint import sha256_of_pem
from openadr.model.registration import SignaturePolicy


class _AgreedMethod(StrEnum):
    """The baselines that rest on an agreement."""

    FIXED_PROFILE = "fixed-profile"
    FIRM_LEVEL = "firm-level"


fleet = typer.Typer(help="The VENs of a VTN.", no_args_is_help=True)
fleet.callback()(open_group)

_VenId = Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN]


@command(fleet, "list")
def fleet_list(session: Session) -> None:
    """List VENs with registration, last contact and presence."""
    rows = session.call(lambda client: client.all("/vens"))
    session.table(
        rows, "id", "name", "presence", "registered_at", "last_seen_at", empty="No VENs yet; see `evenload fleet add`."
    )


@command(fleet, "add")
def fleet_add(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, unique in this VTN.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Require its messages to match the schema exactly.")] = False,
) -> None:
    """Create a VEN and print the one-time code for its gateway."""
    made = session.call(lambda client: client.post("/vens", {"name": name, "strict": strict}))
    session.tell(made, f"{made['ven']['id']}\n{_told(session, made['code'])}")


@command(fleet, "code")
def fleet_code(session: Session, ven_id: _VenId) -> None:
    """Create a new enrolment code. Older codes stop working; certificates stay valid."""
    made = session.call(lambda client: client.post(f"/vens/{ven_id}/enrolment-codes"))
    session.tell(made, _told(session, made["code"]))


def _told(session: Session, code: str) -> str:
    base = session.url.rstrip("/").removesuffix("/v1")
    sha256 = "SHA256" if session.ca is None else sha256_of_pem(_read(session.ca).encode())
    return (
        f"Enrolment code: {code}   (works once, for 14 days)\n"
        f"On the gateway: evenload ven fetch-ca --vtn {base} --sha256 {sha256}\n"
        f"                evenload ven enrol {code} --vtn {base} --ca vtn-ca.pem --config household.yaml"
    )


@command(fleet, "show")
def fleet_show(session: Session, ven_id: _VenId) -> None:
    """Show a VEN with its resources, its certificates, and what was wrong with its messages."""
    found = session.call(lambda client: client.get(f"/vens/{ven_id}"))
    if session.json:
        session.tell(found, "")
        return
    session.table(found["ven"])
    session.parts(
        found,
        ("Resources", [{"resource": one} for one in found["resources"]], ()),
        ("Certificates", found["certificates"], ("fingerprint", "not_before", "not_after", "revoked_at")),
        ("Never answered", found["unanswered"], ("kind", "subject", "tries", "sent_at")),
        ("Faults", found["faults"], ("kind", "subject", "count", "last_at", "text")),
    )


@command(fleet, "push")
def fleet_push(
    session: Session,
    ven_id: _VenId,
    address: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="Where it listens, by https; without one it asks for its events."),
    ] = None,
) -> None:
    """Say where the events for a VEN of OpenADR 2.0a are pushed to. VENs of 2.0b say so when they register."""
    answered = session.call(lambda client: client.put(f"/vens/{ven_id}/push-address", {"address": address}))
    text = f"Events are pushed to {address}." if address else "The VEN asks for its events."
    session.tell(answered, text)


@command(fleet, "signatures")
def fleet_signatures(
    session: Session,
    ven_id: _VenId,
    policy: Annotated[
        SignaturePolicy, typer.Argument(help="Ignore messages without a good XML signature, with a bad one, or none.")
    ],
) -> None:
    """Say what the XML signatures of a VEN's messages mean, from its next message on."""
    answered = session.call(lambda client: client.put(f"/vens/{ven_id}/signatures", {"policy": policy.value}))
    texts = {
        SignaturePolicy.REQUIRED: f"Messages of {ven_id} are ignored unless they have a good signature.",
        SignaturePolicy.WHEN_PRESENT: f"Messages of {ven_id} may be signed; those with a bad signature are ignored.",
        SignaturePolicy.OFF: f"Signatures of {ven_id} do not count, and nothing is signed for it.",
    }
    session.tell(answered, texts[policy])


@command(fleet, "partial-power")
def fleet_partial_power(
    session: Session,
    ven_id: _VenId,
    minimum: Annotated[int | None, typer.Option(help="The least that it can be called for, W.")] = None,
    step: Annotated[int | None, typer.Option(help="In steps of so many W; the minimum is a number of steps.")] = None,
    none: Annotated[bool, typer.Option("--none", help="It has no set-point: it is called as a whole.")] = False,
) -> None:
    """Say at which levels a VEN can be called, if it has a set-point. Without options: show it."""
    path = f"/vens/{ven_id}/partial-power"
    if none:
        if minimum is not None or step is not None:
            raise InvalidError("Either --none, or --minimum and --step.")
        session.call(lambda client: client.delete(path))
        session.tell(None, f"{ven_id} is called as a whole.")
        return
    if (minimum is None) != (step is None):
        raise InvalidError("Say both --minimum and --step.")
    body = {"minimum_w": minimum, "step_w": step}
    found = session.call(lambda client: client.get(path) if step is None else client.put(path, body))
    levels = found and f"from {found['minimum_w']} W on in steps of {found['step_w']} W, up to what it can do"
    session.tell(found, f"{ven_id} is called {levels or 'as a whole'}.")


@command(fleet, "agree")
def fleet_agree(
    session: Session,
    method: Annotated[_AgreedMethod, typer.Argument(help="The baseline that it is for.")],
    ven_ids: Annotated[list[str], typer.Argument(help="Names or venIDs.", metavar="VEN..."), Noun.VEN],
    *,
    watts: Annotated[
        str, typer.Option(help="Mean powers, W, of equal parts of a day: 1, 24, 48, 96 or 288, by comma.")
    ],
    weekends: Annotated[
        str | None, typer.Option(help="Those of weekends and holidays. Default: as on weekdays.")
    ] = None,
    valid_from: Annotated[str, typer.Option(help="The first local day that it is for, such as 2026-01-31.")],
) -> None:
    """Enter what was agreed with VENs as their baseline: a profile by time of day, or a firm level."""
    body = {"method": method.value, "ven_ids": ven_ids, "valid_from": valid_from, "weekdays_w": _watts(watts)}
    if weekends is not None:
        body["weekends_w"] = _watts(weekends)
    made = session.call(lambda client: client.post("/agreed-baselines", body))
    count = made["vens"]
    session.tell(made, f"{method.value} of {count} {'VEN' if count == 1 else 'VENs'} from {valid_from} on.")


def _watts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidError(f"'{text[:40]}' is no list of watts such as 300,280,310.") from error


@command(fleet, "agreed")
def fleet_agreed(session: Session, ven_id: _VenId) -> None:
    """Show what was agreed with a VEN as its baseline."""
    rows = session.call(lambda client: client.all(f"/vens/{ven_id}/agreed-baselines"))
    flat = [
        row | {name: ",".join(map(str, row[name])) for name in ("weekdays_w", "weekends_w") if not session.json}
        for row in rows
    ]
    columns = ("method", "valid_from", "weekdays_w", "weekends_w", "created_at", "created_by")
    session.table(flat, *columns, empty="Nothing was agreed with it; see `evenload fleet agree`.")


@command(fleet, "potential")
def fleet_potential(session: Session, ven_id: _VenId) -> None:
    """Show by how much a VEN can change its consumption, with source, age and the first power."""
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/potential"))
    if session.json:
        session.tell(found, "")
        return
    rows = [one | {"now_p10_w": one["p10_w"][0], "now_p50_w": one["p50_w"][0]} for one in found["items"]]
    columns = ("resource_id", "direction", "source", "issued_at", "stale", "start", "now_p10_w", "now_p50_w")
    session.table(rows, *columns, empty="It has reported no potential, and nothing was derived from its history.")


@command(fleet, "remove")
def fleet_remove(session: Session, ven_id: _VenId, yes: Yes = False) -> None:
    """Retire a VEN, after asking: its certificates and enrolments end. Its data stays, its name can be used again."""
    one = session.call(lambda client: client.get(f"/vens/{ven_id}"))["ven"]
    if one["removed_at"] is None:
        text = f"{one['name']} ({ven_id}): its certificates and codes stop, its enrolments end. There is no way back."
        confirm(text, question="Remove it?", yes=yes)
    session.call(lambda client: client.delete(f"/vens/{ven_id}"))
    session.tell({"removed": ven_id}, f"Removed {ven_id}.")


@command(fleet, "reregister")
def fleet_reregister(session: Session, ven_id: _VenId) -> None:
    """Ask a VEN to register again."""
    session.call(lambda client: client.post(f"/vens/{ven_id}/reregistration"))
    session.tell({"asked": ven_id}, f"{ven_id} is asked at its next poll, or by push.")


@command(fleet, "unregister")
def fleet_unregister(session: Session, ven_id: _VenId) -> None:
    """Cancel a VEN's registration. It may register again; its certificate stays valid."""
    session.call(lambda client: client.post(f"/vens/{ven_id}/cancellation"))
    session.tell(
        {"asked": ven_id},
        f"{ven_id} is told at its next poll, or by push; `evenload fleet show {ven_id}` says if it never answers.",
    )


@command(fleet, "waiting")
def fleet_waiting(session: Session) -> None:
    """List certificates of a trusted CA that tried to connect but belong to no VEN."""
    rows = session.call(lambda client: client.all("/waiting-certificates"))
    session.table(
        rows, "fingerprint", "subject", "first_seen_at", "last_seen_at", "attempts", empty="No certificate is waiting."
    )


@command(fleet, "accept")
def fleet_accept(
    session: Session,
    ven_id: _VenId,
    fingerprint: Annotated[str | None, typer.Option(help="Fingerprint of a waiting certificate.")] = None,
    pem: Annotated[Path | None, typer.Option(help="The certificate, a PEM file.")] = None,
) -> None:
    """Accept a certificate for a VEN, in addition to those it has."""
    if (fingerprint is None) == (pem is None):
        raise InvalidError("Name the certificate: either --fingerprint (see `evenload fleet waiting`) or --pem.")
    body = {"fingerprint": fingerprint} if pem is None else {"pem": _read(pem)}
    found = session.call(lambda client: client.post(f"/vens/{ven_id}/certificates", body))
    number = len(found["certificates"])
    session.tell(found, f"{ven_id} now has {number} {'certificate' if number == 1 else 'certificates'}.")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} is no readable PEM file: {getattr(error, 'strerror', None) or error}.") from error


@command(fleet, "revoke")
def fleet_revoke(
    session: Session, fingerprint: Annotated[str, typer.Argument(help="As `evenload fleet show` shows it.")]
) -> None:
    """Revoke a VEN's certificate at once."""
    session.call(lambda client: client.post(f"/certificates/{fingerprint}/revocation"))
    session.tell({"revoked": fingerprint}, f"Revoked {fingerprint}.")


@command(fleet, "household-token")
def fleet_household_token(
    session: Session,
    ven_id: _VenId,
    days: Annotated[int, typer.Option(help="It expires after this number of days.")] = 365,
    name: Annotated[str | None, typer.Option(help="What to call it; a second one needs a name.")] = None,
) -> None:
    """Create the token with which a VEN's household reads its own tariffs. It is shown only once."""
    body = {"days": days} | ({} if name is None else {"name": name})
    created = session.call(lambda client: client.post(f"/vens/{ven_id}/household-tokens", body))
    session.tell(created, f"Token of {created['principal']['name']}: {created['token']}")


command(fleet, "messages")(messages.list_messages)
command(fleet, "message")(messages.show_message)

# -- groups

group = typer.Typer(help="Groups of VENs.", no_args_is_help=True)
group.callback()(open_group)

_GroupId = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="GROUP"), Noun.GROUP]
_VenIds = Annotated[list[str], typer.Argument(help="Names or venIDs.", metavar="VEN..."), Noun.VEN]


@command(group, "list")
def group_list(session: Session) -> None:
    """List groups."""
    session.table(session.call(lambda client: client.all("/groups")), "id", "name", "members")


@command(group, "show")
def group_show(session: Session, group_id: _GroupId) -> None:
    """List the VENs of a group."""
    rows = session.call(lambda client: client.all("/fleet", {"group_id": group_id}))
    session.table(rows, "ven_id", "name", "area", "presence", empty="This group is empty.")


@command(group, "create")
def group_create(session: Session, name: Annotated[str, typer.Argument(help="Its name, unique.")]) -> None:
    """Create a group."""
    made = session.call(lambda client: client.post("/groups", {"name": name}))
    session.tell(made, made["id"])


@command(group, "rename")
def group_rename(
    session: Session, group_id: _GroupId, name: Annotated[str, typer.Argument(help="Its new name.")]
) -> None:
    """Rename a group."""
    made = session.call(lambda client: client.put(f"/groups/{group_id}", {"name": name}))
    session.tell(made, f"The group is called {made['name']} now.")


@command(group, "delete")
def group_delete(session: Session, group_id: _GroupId, yes: Yes = False) -> None:
    """Delete a group, after asking; its VENs stay."""
    confirm("The group is deleted; its VENs stay.", question="Delete it?", yes=yes)
    session.call(lambda client: client.delete(f"/groups/{group_id}"))
    session.tell({"deleted": group_id}, f"Deleted {group_id}.")


@command(group, "add")
def group_add(session: Session, group_id: _GroupId, ven_ids: _VenIds) -> None:
    """Add VENs to a group."""
    _move(session, "add_to_group", group_id, ven_ids)


@command(group, "remove")
def group_remove(session: Session, group_id: _GroupId, ven_ids: _VenIds) -> None:
    """Remove VENs from a group."""
    _move(session, "remove_from_group", group_id, ven_ids)


def _move(session: Session, action: str, group_id: str, ven_ids: list[str]) -> None:
    body = {"action": action, "group_id": group_id, "ven_ids": ven_ids}
    found = session.call(lambda client: client.post("/fleet/actions", body))
    number = found["changed"]
    did = "put into the group" if action == "add_to_group" else "taken out of the group"
    session.tell(found, f"{number} {'VEN was' if number == 1 else 'VENs were'} {did}.")
