"""Rows in and out: insert-or-update on both databases, and model values as JSON."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from sqlalchemy import ColumnElement, Row, Select, Table, Text
from sqlalchemy import cast as cast_column
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import InvalidError

T = TypeVar("T")

_PORTION: Final = 500
_MOST_NAMED: Final = 1000
"""A statement takes some ten thousand parameters at most."""


async def upsert(
    conn: AsyncConnection,
    table: Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    keys: Collection[str],
    update: Collection[str] | None = None,
    add: Collection[str] = (),
) -> None:
    """Insert a row (or rows with the same columns); where a row with the same `keys` is there, change it instead.

    `keys` are the columns of a primary key or unique constraint. `update` names the columns to change in a row that
    is there; by default all given ones but the keys; none at all leaves such a row as it is. What is given for the
    columns `add` is added to what is there. No rows do nothing.
    """
    rows = [dict(values)] if isinstance(values, Mapping) else [dict(row) for row in values]
    if not rows:
        return
    changes = [name for name in rows[0] if name not in keys] if update is None else update
    await conn.execute(_upsert(conn.dialect.name, table, tuple(keys), tuple(changes), tuple(add)), rows)


@lru_cache(maxsize=256)
def _upsert(dialect: str, table: Table, keys: tuple[str, ...], changes: tuple[str, ...], sums: tuple[str, ...]) -> Any:
    """Return the statement, which is kept: naming what was to be inserted makes a copy of the whole table's columns."""
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert  # both spell alike, but each has a class of its own
    statement = insert(table)
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=list(keys))
    new = {name: statement.excluded[name] for name in changes}
    new |= {name: table.c[name] + statement.excluded[name] for name in sums}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=new)


async def insert_new(conn: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]], *, key: str) -> set[Any]:
    """Insert rows, but none whose `key` (a primary key) is there already; return the keys of those that were inserted.

    Of several transactions that insert the same key, one gets it: the others wait for its end.
    """
    if not rows:
        return set()
    insert = import_module(f"sqlalchemy.dialects.{conn.dialect.name}").insert
    statement = insert(table).on_conflict_do_nothing(index_elements=[key]).returning(table.c[key])
    return set((await conn.execute(statement, [dict(row) for row in rows])).scalars())


def in_parts(names: Iterable[T], most: int = _MOST_NAMED) -> Iterator[list[T]]:
    """Yield names in parts that are short enough to be named in one statement (`IN`)."""
    left = list(names)
    for first in range(0, len(left), most):
        yield left[first : first + most]


def evenly(names: Sequence[T], most: int) -> list[T]:
    """Return at most so many of some names, spread evenly over them."""
    count = min(len(names), most)
    return [names[place * len(names) // count] for place in range(count)]


async def portions(
    conn: AsyncConnection, query: Select[Any], most: int = _PORTION
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Yield a query's rows, at most so many at a time: between them the event loop is left to others."""
    async for rows in (await conn.stream(query)).partitions(most):
        yield rows
        await asyncio.sleep(0)


def to_json(value: object) -> Any:
    """Return a model value (dataclass, enum, time, or containers of them) as what JSON can hold.

    Times are ISO 8601 with their zone, a Duration its two fields; `from_json` gives all of it back. Numbers that are
    not finite are left in place, and the database refuses them (InvalidError): JSON has none.
    """
    return to_jsonable_python(value)


def from_json(kind: type[T], data: Any) -> T:
    """Return the model value that `to_json` wrote. Raises InvalidError if the data are of another shape."""
    try:
        return cast("T", _adapter(cast("Hashable", kind)).validate_python(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"]) or "value"
        raise InvalidError(f"Stored data are no {kind.__name__}: {place}: {first['msg']}.") from error


def as_text(column: ColumnElement[Any]) -> ColumnElement[str]:
    """Return a JSON column as the text that `from_text` reads."""
    return cast_column(column, Text)


def from_text(kind: type[T], text: str) -> T:
    """Return the model value that `to_json` wrote, from the text of a JSON column. What was read before is kept.

    For values that the hot paths read again with every message, and that change seldom. Raises InvalidError.
    """
    return cast("T", _kept(cast("Hashable", kind), text))


@lru_cache(maxsize=2048)
def _kept(kind: Hashable, text: str) -> Any:
    return from_json(cast("type[Any]", kind), json.loads(text))


@lru_cache(maxsize=128)
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("Any", kind))
