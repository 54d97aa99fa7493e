"""`evenload fleet`: the VENs of a VTN, their codes and certificates."""

from pathlib import Path
from typing import Annotated

import typer

from core.errors import InvalidError
from evenload.session import Session, command, open_group

fleet = typer.Typer(help="The VENs of a VTN.", no_args_is_help=True)
fleet.callback()(open_group)

_VenId = Annotated[str, typer.Argument(help="The venID, as `evenload fleet list` shows it.")]


@command(fleet, "list")
def fleet_list(session: Session) -> None:
    """List VENs: registered when, heard of when, online or stale."""
    rows = session.call(lambda client: client.all("/vens"))
    session.table(
        rows, "id", "name", "presence", "registered_at", "last_seen_at", empty="No VENs yet; see `evenload fleet add`."
    )


@command(fleet, "add")
def fleet_add(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name, unique in this VTN.")],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Hold its messages to the schema to the letter.")] = False,
) -> None:
    """Create a VEN and print the one-time code for its gateway."""
    made = session.call(lambda client: client.post("/vens", {"name": name, "strict": strict}))
    session.tell(made, f"{made['ven']['id']}\n{_told(session, made['code'])}")


@command(fleet, "code")
def fleet_code(session: Session, ven_id: _VenId) -> None:
    """Make a new enrolment code; older codes stop working, certificates go on."""
    made = session.call(lambda client: client.post(f"/vens/{ven_id}/enrolment-codes"))
    session.tell(made, _told(session, made["code"]))


def _told(session: Session, code: str) -> str:
    base = session.url.rstrip("/").removesuffix("/v1")
    return (
        f"Enrolment code: {code}   (works once, for 14 days)\n"
        f"On the gateway: evenload ven enrol {code} --vtn {base}/v1 --ca CA.PEM --config household.yaml"
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


@command(fleet, "potential")
def fleet_potential(session: Session, ven_id: _VenId) -> None:
    """Show by how much a VEN could change its consumption: who says so, how old that is, and the first power."""
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/potential"))
    if session.json:
        session.tell(found, "")
        return
    rows = [one | {"now_p10_w": one["p10_w"][0], "now_p50_w": one["p50_w"][0]} for one in found["items"]]
    columns = ("resource_id", "direction", "source", "issued_at", "stale", "start", "now_p10_w", "now_p50_w")
    session.table(rows, *columns, empty="It has reported no potential, and nothing was derived from its history.")


@command(fleet, "remove")
def fleet_remove(session: Session, ven_id: _VenId) -> None:
    """Retire a VEN: its certificates stop, its enrolments end, its data stays."""
    session.call(lambda client: client.delete(f"/vens/{ven_id}"))
    session.tell({"removed": ven_id}, f"Removed {ven_id}.")


@command(fleet, "reregister")
def fleet_reregister(session: Session, ven_id: _VenId) -> None:
    """Ask a VEN to register again."""
    session.call(lambda client: client.post(f"/vens/{ven_id}/reregistration"))
    session.tell({"asked": ven_id}, f"{ven_id} is asked at its next poll.")


@command(fleet, "unregister")
def fleet_unregister(session: Session, ven_id: _VenId) -> None:
    """Cancel a VEN's registration; it may register again, its certificate stays valid."""
    session.call(lambda client: client.post(f"/vens/{ven_id}/cancellation"))
    session.tell(
        {"asked": ven_id},
        f"{ven_id} is told at its next poll; `evenload fleet show {ven_id}` says if it never answers.",
    )


@command(fleet, "waiting")
def fleet_waiting(session: Session) -> None:
    """List certificates of a trusted CA that tried to speak and belong to no VEN."""
    rows = session.call(lambda client: client.get("/waiting-certificates"))
    session.table(rows, "fingerprint", "subject", "first_seen_at", "last_seen_at", "attempts", empty="None waits.")


@command(fleet, "accept")
def fleet_accept(
    session: Session,
    ven_id: _VenId,
    fingerprint: Annotated[str | None, typer.Option(help="Of a certificate that waits.")] = None,
    pem: Annotated[Path | None, typer.Option(help="The certificate, a PEM file.")] = None,
) -> None:
    """Let a certificate speak for a VEN, beside those that it has."""
    if (fingerprint is None) == (pem is None):
        raise InvalidError("Name the certificate: either --fingerprint (see `evenload fleet waiting`) or --pem.")
    body = {"fingerprint": fingerprint} if pem is None else {"pem": _read(pem)}
    found = session.call(lambda client: client.post(f"/vens/{ven_id}/certificates", body))
    session.tell(found, f"{ven_id} now has {len(found['certificates'])} certificates.")


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
    days: Annotated[int, typer.Option(help="It expires after so many days.")] = 365,
) -> None:
    """Create the token with which a VEN's household reads its own tariffs; shown this once."""
    created = session.call(lambda client: client.post(f"/vens/{ven_id}/household-tokens", {"days": days}))
    session.tell(created, f"Token of {created['principal']['name']}: {created['token']}")
