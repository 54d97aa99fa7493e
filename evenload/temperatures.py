"""`evenload temperature`: how warm it is outdoors, for baselines that follow the weather."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenload import csv_file
from evenload.session import MaybeMoment, Session, command, open_group

if TYPE_CHECKING:
    from evenload.client import OperatorClient

temperature = typer.Typer(help="Outdoor temperatures, for baselines that follow the weather.", no_args_is_help=True)
temperature.callback()(open_group)


@command(temperature, "import")
def temperature_import(
    session: Session,
    file: Annotated[
        Path,
        typer.Argument(help="CSV: area,time,celsius; without an area it is everybody's.", exists=True, dir_okay=False),
    ],
) -> None:
    """Take in outdoor temperatures, measured or forecast. Refused rows are listed."""
    csv_file.send(session, file, "/temperatures")


@command(temperature, "list")
def temperature_list(
    session: Session,
    area: Annotated[str | None, typer.Option(help="Only those of this area; '' for everybody's.")] = None,
    start: MaybeMoment = None,
    end: MaybeMoment = None,
) -> None:
    """List outdoor temperatures by area and time. Default: from 24 hours ago on."""

    async def ask(client: "OperatorClient") -> Any:
        since = start or datetime.fromisoformat((await client.get("/status"))["now"]) - timedelta(days=1)
        return await client.all("/temperatures", {"area": area, "start": since, "end": end})

    session.table(session.call(ask), "area", "time", "celsius", "received_at")
