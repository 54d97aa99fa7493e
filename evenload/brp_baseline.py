"""`evenload brp baseline`: what a BRP says that the portfolio will consume, and what the aggregator says."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from core.errors import InvalidError, NotFoundError
from evenload.brp_session import BrpSession, Contract, command, contract_of
from evenload.printable import printable

_DAY_S: Final = 86_400
_STEPS_S: Final = (3600, 1800, 900, 300)

_Day = Annotated[str, typer.Argument(metavar="DAY", help="Such as 2026-02-01, in UTC.")]

baseline = typer.Typer(help="What the portfolio will consume on a day.", no_args_is_help=True)


@command(baseline, "show")
def show(session: BrpSession, day: _Day, contract: Contract = None) -> None:
    """Show all nominations for a day. The newest revision of each side applies."""

    async def work(client: Any) -> Any:
        query = {"contract_id": await contract_of(client, contract), "day": day}
        return await client.all("/portfolio/baseline", query)

    rows = session.call(work)
    if session.json:
        session.table(rows)
        return
    flat = [{**one, "kwh": round(sum(one["power_w"]) * one["step_s"] / 3.6e6, 1)} for one in rows]
    session.table(flat, "declared_by", "revision", "step_s", "kwh", "created_at", empty="Nothing was nominated.")


@command(baseline, "nominate")
def nominate(
    session: BrpSession,
    day: _Day,
    power_w: Annotated[int | None, typer.Option("--power-w", help="The same mean power (W) for the whole day.")] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            help="Mean powers (W) of equal steps, separated by spaces, commas or line breaks; - for standard input.",
        ),
    ] = None,
    contract: Contract = None,
) -> None:
    """Nominate what the portfolio will consume on a day that has not begun: 24, 48, 96 or 288 powers of equal steps."""
    if (power_w is None) == (file is None):
        raise InvalidError("Give either --power-w or --file.")
    powers = [power_w] * 24 if power_w is not None else _read(file or "")
    step_s = next((step for step in _STEPS_S if step * len(powers) == _DAY_S), None)
    if step_s is None:
        raise InvalidError(f"{len(powers)} powers are no day: give 24, 48, 96 or 288.")

    async def work(client: Any) -> Any:
        body = {"contract_id": await contract_of(client, contract), "day": day, "step_s": step_s, "power_w": powers}
        return await client.put("/portfolio/baseline", body)

    made = session.call(work)
    session.tell(made, f"Revision {made['revision']} for {made['day']}: {len(powers)} steps of {step_s} s.")


def _read(name: str) -> list[int]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(
            f"{printable(name)} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from error
    words = re.split(r"[\s,;]+", text.strip())
    try:
        return [round(float(word)) for word in words]
    except (ValueError, OverflowError) as error:
        where = "The input" if name == "-" else printable(name)
        raise InvalidError(f"{where} holds something else than numbers: {printable(str(error))}.") from error
