"""Names where commands take ids: `Home 1` for `ven_...`, if only one thing is called so.

    Ven = Annotated[str, typer.Argument(help="..."), Noun.VEN]

`session.command` resolves every parameter that carries a noun before the command runs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from core.errors import InvalidError
from evenload.printable import printable

if TYPE_CHECKING:
    from evenload.client import OperatorClient

_OVER: Final = {"completed", "cancelled"}
_MOST_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class _Listing:
    """How ids of a kind begin, what the kind is called, and where its things are listed with id and name."""

    prefix: str
    word: str
    path: str
    id: str = "id"

    def is_id(self, text: str) -> bool:
        """Tell whether a text is an id and no name."""
        return re.fullmatch(rf"{self.prefix}_[0-9a-z]{{26}}", text) is not None


class Noun(Enum):
    """What a parameter names."""

    VEN = _Listing("ven", "VEN", "/fleet", "ven_id")
    PROGRAMME = _Listing("prg", "programme", "/programmes")
    GROUP = _Listing("grp", "group", "/groups")
    DISPATCH = _Listing("dsp", "dispatch", "/dispatches")
    BRP = _Listing("pty", "BRP", "/brps")
    TARIFF = _Listing("trf", "tariff", "/tariffs")


def are_ids(noun: Noun, value: str | Sequence[str] | None) -> bool:
    """Tell whether there is nothing to look up in what was typed."""
    return all(noun.value.is_id(text) for text in ([value] if isinstance(value, str) else value or ()))


async def resolved(client: "OperatorClient", noun: Noun, value: str | Sequence[str]) -> str | list[str]:
    """Return the id, or ids, of what was typed. Raises InvalidError as `resolve`."""
    if isinstance(value, str):
        return await resolve(client, noun, value)
    return [await resolve(client, noun, text) for text in value]


async def resolve(client: "OperatorClient", noun: Noun, text: str) -> str:
    """Return the id of what an id or a name says. A dispatch goes by its programme's name.

    What is retired, or over, stands back where there is another one.

    Raises InvalidError where nothing, or more than one thing, is called so.
    """
    listing = noun.value
    if listing.is_id(text):
        return text
    rows = await _rows(client, noun, text)
    exact = [row for row in rows if row["name"] == text] or [
        row for row in rows if row["name"].casefold() == text.casefold()
    ]
    if noun is Noun.DISPATCH:
        exact = [row for row in exact if row["status"] not in _OVER] or exact
    if noun is Noun.TARIFF:
        exact = [row for row in exact if row["retired_at"] is None] or exact
    if len(exact) == 1:
        return str(exact[0][listing.id])
    if exact:
        shown = [f"  {row[listing.id]}  {row.get('start', '')}".rstrip() for row in exact[:_MOST_SHOWN]]
        more = [f"  and {len(exact) - _MOST_SHOWN} more"] if len(exact) > _MOST_SHOWN else []
        lines = "\n".join([*shown, *more])
        raise InvalidError(f"'{printable(text[:120])}' could be any of these; name one by its id:\n{lines}")
    if text.startswith(f"{listing.prefix}_"):
        return text  # the server says that there is none
    raise InvalidError(f"There is no {listing.word} called '{printable(text[:120])}'.")


async def _rows(client: "OperatorClient", noun: Noun, text: str) -> list[dict[str, Any]]:
    path = noun.value.path
    if noun is Noun.VEN:
        return await client.all(path, {"text": text[:120]})
    if noun is Noun.DISPATCH:
        names = {one["id"]: one["name"] for one in await client.all("/programmes")}
        return [{**one, "name": names.get(one["programme_id"], "")} for one in await client.all(path)]
    return await client.all(path)
