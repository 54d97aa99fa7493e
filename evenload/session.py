"""How an operator's command reaches the VTN: its options, taken before or after the command's name, and its output.

    @command(fleet, "show")
    def fleet_show(session: Session, ven_id: str) -> None: ...

What is not said on the command line comes from EVENLOAD_URL, EVENLOAD_TOKEN and EVENLOAD_CA.
"""

import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from core.errors import InvalidError
from evenload.names import Noun, are_ids, resolved
from evenload.output import show
from evenload.printable import printable, printable_lines

if TYPE_CHECKING:
    from evenload.client import OperatorClient

DEFAULT_URL = "https://localhost:8444"
_PANEL = "Reaching the VTN"
_Url = Annotated[
    str | None,
    typer.Option("--url", help=f"The VTN's operator API, else EVENLOAD_URL or {DEFAULT_URL}.", rich_help_panel=_PANEL),
]
_Token = Annotated[
    str | None, typer.Option("--token", help="An operator's token. Default: EVENLOAD_TOKEN.", rich_help_panel=_PANEL)
]
_Ca = Annotated[
    Path | None, typer.Option("--ca", help="The VTN's CA (PEM file). Default: EVENLOAD_CA.", rich_help_panel=_PANEL)
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel=_PANEL)]

T = TypeVar("T")
Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class _Given:
    """What was said at one place of the command line."""

    url: str | None = None
    token: str | None = None
    ca: Path | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A command's way to the VTN, and to its user."""

    url: str
    token: str
    ca: Path | None
    json: bool = False

    def call(self, work: Callable[["OperatorClient"], Awaitable[T]]) -> T:
        """Run a few requests. Raises EvenloadError with text for people."""
        if not self.token:
            raise InvalidError(
                "No token: pass --token or set EVENLOAD_TOKEN (make one with `evenload operator add`, where the VTN's "
                "settings are)."
            )
        import asyncio  # noqa: PLC0415  help needs none of it

        from evenload.client import OperatorClient  # noqa: PLC0415

        base = self.url.rstrip("/").removesuffix("/v1")

        async def run() -> T:
            async with OperatorClient(f"{base}/v1", self.token, ca=self.ca) as client:
                return await work(client)

        return asyncio.run(run())

    def tell(self, value: Any, text: str) -> None:
        """Print a result: as JSON if so wished, else the text."""
        typer.echo(json.dumps(value, default=str, indent=1) if self.json else printable_lines(text))

    def table(self, rows: Any, *columns: str, empty: str = "Nothing there yet.") -> None:
        """Print a listing or one object."""
        show(rows, as_json=self.json, columns=columns, empty=empty)

    def parts(self, record: Mapping[str, Any], *parts: tuple[str, Sequence[Any], Sequence[str]]) -> None:
        """Print several listings, each under its title (title, rows, columns); as JSON the whole."""
        if self.json:
            self.tell(record, "")
            return
        for title, rows, columns in parts:
            typer.echo(f"{printable(title)}{':' if rows else ': none'}")
            if rows:
                show(rows, as_json=False, columns=columns)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")]


def confirm(*texts: str, question: str, yes: bool) -> None:
    """Print what is at stake and ask. Without a terminal there is nobody to ask: raises InvalidError unless `yes`."""
    for text in texts:
        typer.echo(printable(text), err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidError("Nothing was done. If that is what you want, say so with --yes.")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def command(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Add a command whose first parameter is the Session; the options that make it may follow the command's name."""

    def add(function: Command) -> Command:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()
        nouns = {
            one.name: noun
            for one in own
            for noun in getattr(one.annotation, "__metadata__", ())
            if isinstance(noun, Noun)
        }

        def run(context: typer.Context, url: _Url, token: _Token, ca: _Ca, *, json_: _Json, **arguments: Any) -> None:
            before = context.obj if isinstance(context.obj, _Given) else _Given()
            session = _session(before, _Given(url, token, ca, json_))
            function(session, **_with_ids(session, nouns, arguments))

        run.__doc__, run.__name__ = function.__doc__, function.__name__
        own = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        context, *access = list(inspect.signature(run, eval_str=True).parameters.values())[:5]
        access = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=False if one.name == "json_" else None)
            for one in access
        ]
        run.__signature__ = inspect.Signature([context, *own, *access])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in (context, *own, *access)}
        app.command(name)(run)
        return function

    return add


def _with_ids(session: Session, nouns: Mapping[str, Noun], arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what was typed with ids in place of names."""
    named = {name: noun for name, noun in nouns.items() if not are_ids(noun, arguments[name])}
    if not named:
        return arguments

    async def ask(client: "OperatorClient") -> dict[str, Any]:
        return {name: await resolved(client, noun, arguments[name]) for name, noun in named.items()}

    return arguments | session.call(ask)


def open_group(
    context: typer.Context, url: _Url = None, token: _Token = None, ca: _Ca = None, json_: _Json = False
) -> None:
    """Remember what stands before the command's name. The callback of a group of commands."""
    context.obj = _Given(url, token, ca, json_)


def _session(before: _Given, after: _Given) -> Session:
    ca = after.ca or before.ca or (Path(os.environ["EVENLOAD_CA"]) if os.environ.get("EVENLOAD_CA") else None)
    return Session(
        after.url or before.url or os.environ.get("EVENLOAD_URL") or DEFAULT_URL,
        after.token or before.token or os.environ.get("EVENLOAD_TOKEN", ""),
        ca,
        after.json or before.json,
    )


def moment(text: str) -> datetime:
    """Read a time from the command line. Raises a usage error for one without zone."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise typer.BadParameter(f"'{text}' is no time with zone, such as 2026-01-31T17:00:00Z or ...T18:00:00+01:00.")
    return when.astimezone(UTC)


Moment = Annotated[
    datetime, typer.Option(parser=moment, metavar="TIME", help="Time with zone, such as 2026-01-31T17:00:00Z.")
]
MaybeMoment = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Time with zone, such as 2026-01-31T17:00:00Z.")
]
