"""Pages by keyset: each page starts after the last row of the one before, however many rows came and went meanwhile.

    ORDER = Keyset("dispatches", datetime, str)              # the order of the listing: created_at, id

    @operation("GET", "/dispatches", summary="List dispatches", role="viewer")
    async def list_dispatches(context: Context, limit: Limit = 50, cursor: Cursor | None = None) -> Page[Dispatch]:
        after = ORDER.decode(cursor)                         # None, or (created_at, id)
        rows = await store.dispatches(after=after, limit=limit + 1)
        return ORDER.page(rows, limit, key=lambda row: (row.created_at, row.id))

A cursor is opaque but carries no authority: it only says where to go on, and what a caller may see is decided anew for
every page. So it is checked, not signed.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from core.errors import InvalidError
from web.model import Model

Row = TypeVar("Row")
Key = str | int | datetime
_MAX_CURSOR = 512
_MAX_INTEGER = 2**63 - 1
_FOREIGN = "The cursor is not one of this listing; start again without it."

Limit = Annotated[int, Field(ge=1, le=500, description="At most so many items.")]
Cursor = Annotated[
    str, Field(min_length=1, max_length=_MAX_CURSOR, description="Where to go on: `next` of the page before.")
]


class Page(Model, Generic[Row]):
    """One page of a listing."""

    items: list[Row]
    """The items of this page, in the order of the listing."""
    next: str | None = None
    """Pass this as `cursor` for the next page; null on the last one."""


@dataclass(frozen=True, slots=True, init=False)
class Keyset:
    """The order of one listing: its name, and the types of the columns that it is ordered by (the last one unique)."""

    name: str
    kinds: tuple[type[Key], ...]

    def __init__(self, name: str, *kinds: type[Key]) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "kinds", kinds)

    def encode(self, *values: Key) -> str:
        """Return the cursor that stands after the row with these values."""
        texts = [value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for value in values]
        raw = json.dumps([self.name, *texts], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def decode(self, cursor: str | None) -> tuple[Any, ...] | None:
        """Return the values that the cursor stands after; None for the start. Raises InvalidError for any other text.

        The values have the types that the order names; times are aware UTC.
        """
        if cursor is None:
            return None
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            name, *texts = json.loads(raw)
            values: tuple[Any, ...] = tuple(_read(kind, text) for kind, text in zip(self.kinds, texts, strict=True))
            ours = name == self.name and self.encode(*values) == cursor
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidError(_FOREIGN) from error
        if not ours:
            raise InvalidError(_FOREIGN)
        return values

    def part(
        self, rows: Iterable[Row], limit: int, cursor: str | None, key: Callable[[Row], tuple[Key, ...]]
    ) -> Page[Row]:
        """Return a page of a listing that is at hand as a whole, in the order of its key.

        Raises InvalidError for a cursor of another listing.
        """
        after = self.decode(cursor)
        rest = [row for row in rows if after is None or key(row) > after]
        return self.page(sorted(rest, key=key), limit, key)

    def page(self, rows: Sequence[Row], limit: int, key: Callable[[Row], tuple[Key, ...]]) -> Page[Row]:
        """Make a page of up to `limit` rows out of up to `limit + 1`: the extra one only shows that more follow."""
        items = list(rows[:limit])
        following = self.encode(*key(items[-1])) if len(rows) > limit else None
        return Page[Row].model_construct(items=items, next=following)


def _read(kind: type[Key], value: Any) -> object:
    if kind is datetime:
        when = datetime.fromisoformat(value)
        if when.utcoffset() is None:
            raise ValueError(value)
        return when
    if type(value) is not kind or (isinstance(value, int) and abs(value) > _MAX_INTEGER):
        raise ValueError(value)
    if isinstance(value, str) and b"\0" in value.encode():  # encode() refuses half a surrogate pair
        raise ValueError(value)
    return value
