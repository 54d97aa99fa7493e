"""`evenload certs`: the authority on the command line. `app` is a sub-application for the main command."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from certs.authority import Authority, Issued
from certs.files import exists, make_private_directory, read_text, write_new
from certs.kinds import KeyType, Kind
from certs.register import Record
from core.clock import machine_now
from core.errors import ConflictError, EvenloadError, InvalidError
from openadr.fingerprint import fingerprint_of_pem

app = typer.Typer(
    name="certs", help="The certificate authority: issue, renew and revoke certificates.", no_args_is_help=True
)

Ca = Annotated[Path, typer.Option("--ca", envvar="EVENLOAD_AUTHORITY", help="The authority's directory.")]
Out = Annotated[Path, typer.Option("--out", help="Directory for the files; nothing in it is overwritten.")]
Days = Annotated[int, typer.Option(min=1, max=36_500, help="Validity in days.")]
KeyKind = Annotated[KeyType, typer.Option("--key-type", help="Elliptic curve P-256, or RSA.")]
Request = Annotated[Path | None, typer.Option("--request", help="Signing request (CSR) for a key made elsewhere.")]
Which = Annotated[str, typer.Argument(metavar="CERTIFICATE", help="Fingerprint or serial number.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DEFAULT_CA = Path("ca")


@app.command()
def init(
    ca: Ca = _DEFAULT_CA,
    name: Annotated[str, typer.Option(help="The authority's name in its certificate.")] = "evenload CA",
    key_type: KeyKind = KeyType.EC,
    days: Days = 3650,
    *,
    as_json: Json = False,
) -> None:
    """Make a new authority. Keep its directory private and backed up."""
    with _errors():
        made = Authority.create(ca, name, key_type=key_type, days=days)
        result = {"directory": str(ca), "ca": str(ca / "ca.pem"), "not_after": made.not_after.isoformat()}
        _tell(result, f"Authority '{name}' in {ca}, valid until {made.not_after:%Y-%m-%d}.", as_json=as_json)


@app.command()
def issue(
    names: Annotated[list[str], typer.Argument(help="Client: its name. Server: its host names and IP addresses.")],
    kind: Annotated[Kind, typer.Option(help="What it is for; vtn: a server that pushes to VENs.")],
    out: Out,
    ca: Ca = _DEFAULT_CA,
    request: Request = None,
    key_type: KeyKind = KeyType.EC,
    days: Days = 365,
    *,
    as_json: Json = False,
) -> None:
    """Issue a certificate: writes cert.pem, ca.pem and, unless --request is given, key.pem."""
    with _errors():
        authority = Authority.load(ca)
        if kind is Kind.CLIENT and len(names) != 1:
            raise InvalidError("A client certificate has one name.")
        if kind is not Kind.CLIENT and request is not None:
            raise InvalidError("--request is for clients; a server's key is made together with its certificate.")
        _room(out)
        if kind is not Kind.CLIENT:
            issued = authority.issue_server(names, key_type=key_type, days=days, calls_clients=kind is Kind.VTN)
        elif request is not None:
            issued = authority.sign_request(_csr(request), names[0], days=days)
        else:
            issued = authority.issue_client(names[0], key_type=key_type, days=days)
        _write(out, issued, authority)
        _tell(_row(issued.record) | {"directory": str(out)}, _line(issued.record), as_json=as_json)


@app.command()
def renew(
    which: Which, out: Out, ca: Ca = _DEFAULT_CA, request: Request = None, days: Days = 365, *, as_json: Json = False
) -> None:
    """Issue the successor of a certificate; both are valid until the old one ends or is revoked.

    Without --request the new certificate is for the same key.
    """
    with _errors():
        authority = Authority.load(ca)
        _room(out)
        issued = authority.renew(which, csr_pem=None if request is None else _csr(request), days=days)
        _write(out, issued, authority)
        _tell(_row(issued.record) | {"directory": str(out)}, _line(issued.record), as_json=as_json)


@app.command()
def revoke(
    which: Which,
    ca: Ca = _DEFAULT_CA,
    reason: Annotated[str, typer.Option(help="RFC 5280: keyCompromise, superseded, ...")] = "unspecified",
    *,
    as_json: Json = False,
) -> None:
    """Revoke a certificate and write the revocation list (crl.pem)."""
    with _errors():
        record = Authority.load(ca).revoke(which, reason)
        _tell(_row(record), _line(record), as_json=as_json)


@app.command()
def fingerprint(
    certificate: Annotated[Path, typer.Argument(help="A certificate in PEM.")], *, as_json: Json = False
) -> None:
    """Show the OpenADR fingerprint of a certificate: what VTN and VEN know each other by."""
    with _errors():
        found = fingerprint_of_pem(read_text(certificate, "Name a certificate file.").encode())
        _tell({"fingerprint": found}, found, as_json=as_json)


@app.command("list")
def list_(
    ca: Ca = _DEFAULT_CA,
    expiring: Annotated[int | None, typer.Option(help="Only valid ones that end within so many days.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """List the issued certificates: fingerprint, kind, end, state, name."""
    with _errors():
        records = Authority.load(ca).issued()
        if expiring is not None:
            now = machine_now()
            end = now + timedelta(days=max(0, min(expiring, 36_500)))
            records = tuple(one for one in records if one.revoked_at is None and now < one.not_after <= end)
        lines = "\n".join(map(_line, records)) or "No certificates."
        _tell([_row(record) for record in records], lines, as_json=as_json)


@contextmanager
def _errors() -> Iterator[None]:
    """Show what the user can mend as one line, without a traceback."""
    try:
        yield
    except EvenloadError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _tell(result: object, text: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(result, indent=2) if as_json else text)


def _row(record: Record) -> dict[str, str | None]:
    return {
        "fingerprint": record.fingerprint,
        "serial": record.serial,
        "name": record.name,
        "kind": record.kind,
        "not_before": record.not_before.isoformat(),
        "not_after": record.not_after.isoformat(),
        "state": _state(record),
        "revoked_at": record.revoked_at.isoformat() if record.revoked_at else None,
        "reason": record.reason,
    }


def _line(record: Record) -> str:
    return f"{record.fingerprint}  {record.kind}  until {record.not_after:%Y-%m-%d}  {_state(record):7}  {record.name}"


def _state(record: Record) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "valid" if machine_now() < record.not_after else "expired"


def _csr(path: Path) -> str:
    return read_text(path, "Name a signing request (CSR) file.")


def _room(out: Path) -> None:
    """Refuse before issuing anything if a file is in the way."""
    for name in ("key.pem", "cert.pem", "ca.pem"):
        if exists(out / name):
            raise ConflictError(f"{out / name} exists already; choose another --out, nothing is overwritten.")
    if not exists(out):
        make_private_directory(out)


def _write(out: Path, issued: Issued, authority: Authority) -> None:
    if issued.key_pem is not None:
        write_new(out / "key.pem", issued.key_pem)
    write_new(out / "cert.pem", issued.chain_pem)
    write_new(out / "ca.pem", authority.ca_pem)
