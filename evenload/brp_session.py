"""How commands of `evenload brp` reach the BRP API: EVENLOAD_BRP_* variables, options after the command's name."""

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from core.errors import InvalidError
from evenload.brp_client import BrpClient
from evenload.output import show
from evenload.printable import printable

DEFAULT_URL = "https://localhost:8444"
_PANEL = "Reaching the aggregator"


def _access(name: str, variable: str, text: str) -> Any:
    return typer.Option(name, envvar=variable, help=text, rich_help_panel=_PANEL)


_Url = Annotated[str, _access("--url", "EVENLOAD_BRP_URL", "The aggregator's REST API.")]
_Client = Annotated[str, _access("--client-id", "EVENLOAD_BRP_CLIENT_ID", "Your client id.")]
_Secret = Annotated[str, _access("--secret", "EVENLOAD_BRP_SECRET", "Your secret; better in the variable.")]
_Ca = Annotated[Path | None, _access("--ca", "EVENLOAD_BRP_CA", "The aggregator's CA (PEM file).")]
_Cert = Annotated[Path | None, _access("--cert", "EVENLOAD_BRP_CERT", "Certificate that your tokens are bound to.")]
_Key = Annotated[Path | None, _access("--key", "EVENLOAD_BRP_KEY", "Its key.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.", rich_help_panel=_PANEL)]

Contract = Annotated[str | None, typer.Option("--contract", help="Which contract. Not needed if you have only one.")]

T = TypeVar("T")
Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class BrpSession:
    """A command's way to the aggregator, and to its user."""

    url: str
    client_id: str
    secret: str
    ca: Path | None
    certificate: tuple[Path, Path] | None
    json: bool

    def call(self, work: Callable[[BrpClient], Awaitable[T]]) -> T:
        """Run a few requests. Raises EvenloadError with text for people."""

        async def run() -> T:
            client = BrpClient(self.url, self.client_id, self.secret, ca=self.ca, certificate=self.certificate)
            async with client:
                return await work(client)

        return asyncio.run(run())

    def get(self, path: str) -> Any:
        """Return what is at a path."""
        return self.call(lambda client: client.get(path))

    def tell(self, value: Any, text: str) -> None:
        """Print a result: as JSON if so wished, else the text."""
        typer.echo(json.dumps(value, indent=1) if self.json else printable(text))

    def table(self, rows: Any, *columns: str, empty: str = "Nothing there yet.") -> None:
        """Print a listing or one object."""
        show(rows, as_json=self.json, columns=columns, empty=empty)


def command(group: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Add a command whose first parameter is the Session; the options that make it follow its own."""

    def add(function: Command) -> Command:
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def run(
            *,
            url: _Url = DEFAULT_URL,
            client_id: _Client = "",
            secret: _Secret = "",
            ca: _Ca = None,
            cert: _Cert = None,
            key: _Key = None,
            json_: _Json = False,
            **arguments: Any,
        ) -> None:
            if (cert is None) != (key is None):
                raise InvalidError("--cert and --key go together.")
            certificate = None if cert is None or key is None else (cert, key)
            function(BrpSession(url, client_id, secret, ca, certificate, json_), **arguments)

        access = [
            one for one in inspect.signature(run, eval_str=True).parameters.values() if one.kind is one.KEYWORD_ONLY
        ]
        whole = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *access]
        run.__doc__, run.__name__ = function.__doc__, function.__name__
        run.__signature__ = inspect.Signature(whole)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in whole}
        group.command(name)(run)
        return function

    return add


async def contract_of(client: BrpClient, wanted: str | None) -> str:
    """Return the contract that was named, or the only one that is valid. Raises InvalidError if there are several."""
    if wanted is not None:
        return wanted
    found = await client.get("/me")
    now = datetime.fromisoformat(found["now"])
    valid = [
        one["id"]
        for one in found["contracts"]
        if one["valid_to"] is None or datetime.fromisoformat(one["valid_to"]) > now
    ]
    if len(valid) != 1:
        known = ", ".join(valid) or "none"
        raise InvalidError(f"Say which contract with --contract; there are: {known}.")
    return str(valid[0])
