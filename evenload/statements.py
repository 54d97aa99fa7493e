"""`evenload market statement` and `evenload brp statement`: monthly statements, on screen and as files."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from core.errors import InvalidError
from evenload.brp_client import BrpClient
from evenload.brp_session import BrpSession, Contract, contract_of
from evenload.brp_session import command as brp_command
from evenload.names import Noun
from evenload.printable import printable, printable_lines
from evenload.session import Session
from evenload.session import command as operator_command

_PATH: Final = "/statements"
_STDOUT: Final = Path("-")

_Id = Annotated[str, typer.Argument(metavar="STATEMENT", help="Its id (stm_...), as `statement list` shows it.")]
_Month = Annotated[str, typer.Argument(metavar="MONTH", help="Such as 2026-01, in the programme's time zone.")]
_OfMonth = Annotated[str | None, typer.Option("--month", help="Only of this month, such as 2026-01.")]
_OfContract = Annotated[str | None, typer.Option("--contract", help="Only of this contract (ctr_...).")]
_Csv = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="File for its activations as CSV; - for standard output, and no more."),
]
_Pdf = Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="File for it as PDF.")]

market_statement = typer.Typer(help="Monthly statements: what contracts cost.", no_args_is_help=True)
brp_statement = typer.Typer(help="Monthly statements: what your contracts cost.", no_args_is_help=True)


# -- the seller's


@operator_command(market_statement, "list")
def market_list(
    session: Session,
    brp_id: Annotated[
        str | None, typer.Option("--brp", help="Only of this BRP: its name, or its id."), Noun.BRP
    ] = None,
    contract_id: _OfContract = None,
    month: _OfMonth = None,
) -> None:
    """List statements, newest first, every version."""
    query = {"brp_id": brp_id, "contract_id": contract_id, "month": month}
    rows = session.call(lambda client: client.all(_PATH, query))
    _show_list(session, rows, "id", "brp_id", "contract_id")


@operator_command(market_statement, "show")
def market_show(session: Session, statement_id: _Id, csv: _Csv = None, pdf: _Pdf = None) -> None:
    """Show a statement: its sums, each activation, and what differs from the version before."""
    _show(session, lambda client: client.get(_path(statement_id)), csv, pdf)


@operator_command(market_statement, "make")
def market_make(
    session: Session,
    contract_id: Annotated[str, typer.Argument(metavar="CONTRACT", help="ctr_...")],
    month: _Month,
    csv: _Csv = None,
    pdf: _Pdf = None,
) -> None:
    """Make the statement of a month as of now: a new version only if something of it has changed."""
    body = {"contract_id": contract_id, "month": month}
    _show(session, lambda client: client.post(_PATH, body), csv, pdf)


# -- the buyer's


@brp_command(brp_statement, "list")
def brp_list(session: BrpSession, contract_id: _OfContract = None, month: _OfMonth = None) -> None:
    """List your statements, newest first, every version."""
    query = {"contract_id": contract_id, "month": month}
    _show_list(session, session.call(lambda client: client.all(_PATH, query)), "id", "contract_id")


@brp_command(brp_statement, "show")
def brp_show(session: BrpSession, statement_id: _Id, csv: _Csv = None, pdf: _Pdf = None) -> None:
    """Show a statement: its sums, each activation, and what differs from the version before."""
    _show(session, lambda client: client.get(_path(statement_id)), csv, pdf)


@brp_command(brp_statement, "make")
def brp_make(session: BrpSession, month: _Month, contract: Contract = None, csv: _Csv = None, pdf: _Pdf = None) -> None:
    """Make the statement of a month as of now: a new version only if something of it has changed."""

    async def make(client: BrpClient) -> Any:
        return await client.post(_PATH, {"contract_id": await contract_of(client, contract), "month": month})

    _show(session, make, csv, pdf)


# -- of both


def _path(statement_id: str) -> str:
    if "/" in statement_id:  # it would lead to another address of the API
        raise InvalidError(f"'{printable(statement_id[:80])}' is no id of a statement (stm_...).")
    return f"{_PATH}/{statement_id}"


def _show_list(session: Session | BrpSession, rows: list[Any], *columns: str) -> None:
    flat = rows if session.json else [{**one, "net": _net(one["sums"])} for one in rows]
    session.table(flat, *columns, "month", "version", "final", "activations", "net", "created_at")


def _net(sums: list[Any]) -> str:
    return ", ".join(f"{one['net']} {one['currency']}" for one in sums)


def _show(
    session: Session | BrpSession,
    ask: Callable[[Any], Awaitable[Any]],
    csv: Path | None,
    pdf: Path | None,
) -> None:
    """Write the files that are wanted of a statement and print it; `--csv -` prints its CSV and nothing else."""
    if pdf == _STDOUT:
        raise InvalidError("A PDF goes to a file: --pdf FILE.")

    async def read(client: Any) -> tuple[Any, bytes, bytes]:
        stated = await ask(client)
        path = _path(stated["id"])
        rows = b"" if csv is None else await client.file(path, "text/csv")
        return stated, rows, b"" if pdf is None else await client.file(f"{path}/pdf", "application/pdf")

    stated, rows, sheet = session.call(read)
    if pdf is not None:
        _write(pdf, sheet)
    if csv == _STDOUT:
        typer.echo(printable_lines(rows.decode(errors="replace").replace("\r\n", "\n")), nl=False)
        return
    if csv is not None:
        _write(csv, rows)
    if session.json:
        session.tell(stated, "")
    else:
        _print(session, stated)


def _write(path: Path, raw: bytes) -> None:
    try:
        path.write_bytes(raw)
    except OSError as error:
        raise InvalidError(f"{printable(str(path))} cannot be written: {error.strerror or error}.") from error


def _print(session: Session | BrpSession, stated: Any) -> None:
    content = stated["content"]
    at = content["final_at"]
    finality = "final" if content["final"] else f"provisional, final at {at}" if at else "provisional"
    title = f"{stated['id']}: {stated['month']} of {stated['contract_id']}, version {stated['version']} ({finality})"
    typer.echo(printable(title))
    figures = ("ordered_kwh", "delivered_kwh", "deficiency_kwh", "price", "penalty", "net", "currency")
    session.table(content["sums"], "activations", *figures, empty="Nothing is settled in this month.")
    rows = [
        {**one, **(one["figures"] or {}), "disputes": " ".join(it["state"] for it in one["disputes"])}
        for one in content["activations"]
    ]
    if rows:
        columns = ("activation_id", "local_start", "settlement_version", "final", *figures, "disputes")
        session.table(rows, *columns)
    if stated["changes"]:
        typer.echo(f"What differs from version {stated['version'] - 1}:")
        session.table(stated["changes"], "activation_id", "currency", "what", "before", "after")
