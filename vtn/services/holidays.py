"""The days on which homes live as on a Sunday: a country's public holidays, and days that the operator adds.

The public ones come from the `holidays` package, by the programme's country (ISO 3166-1) and subdivision (ISO 3166-2
without the country, as the package lists them). They are dates of the programme's local calendar. Results that are not
final follow what is added and removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final

from sqlalchemy import delete, insert, select

from core.errors import ConflictError, InvalidError, NotFoundError
from core.spans import Span
from metrics.days import zone_named
from vtn.services import dispatch
from vtn.services import programme as programmes
from vtn.services.programme import Parameters
from vtn.store.database import Connection, Transaction
from vtn.store.tables import own_holiday

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2100
_MOST_SHOWN: Final = 8
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class Holiday:
    """A local date of a programme. `own`: the operator added it; `public`: the public holiday that it is, or None."""

    day: date
    name: str
    own: bool
    public: str | None


@lru_cache(maxsize=1)
def countries() -> dict[str, tuple[str, ...]]:
    """Return the countries whose public holidays are known: code -> subdivisions."""
    from holidays import list_supported_countries  # noqa: PLC0415  20 MB: only who has a country needs it

    listed: dict[str, list[str]] = list_supported_countries()
    return {code: tuple(parts) for code, parts in sorted(listed.items()) if len(code) == 2}  # noqa: PLR2004  alpha-2


def check(country: str | None, subdivision: str | None) -> None:
    """Raise InvalidError, naming the field, for a country or a subdivision whose holidays are not known."""
    if country is None:
        if subdivision is not None:
            raise InvalidError("A subdivision belongs to a country: name that, too.", field="subdivision")
        return
    if country not in countries():
        text = "is no country whose holidays are known; use two letters of ISO 3166-1 such as DE."
        raise InvalidError(f"'{country}' {text}", field="country")
    parts = countries()[country]
    if subdivision is not None and subdivision not in parts:
        some = ", ".join(parts[:_MOST_SHOWN]) + (" ..." if len(parts) > _MOST_SHOWN else "")
        raise InvalidError(
            f"'{subdivision}' is no part of {country} with holidays of its own"
            + (f"; there are {some}." if some else "; leave it out."),
            field="subdivision",
        )


@lru_cache(maxsize=256)
def _public(country: str, subdivision: str | None, year: int) -> dict[date, str]:
    from holidays import country_holidays  # noqa: PLC0415  see above

    return dict(country_holidays(country, subdiv=subdivision, years=year, language="en_US"))


def public(rules: Parameters, years: Iterable[int]) -> dict[date, str]:
    """Return the public holidays of a programme's country in some years; none without a country."""
    if rules.country is None:
        return {}
    days: dict[date, str] = {}
    for year in years:
        if FIRST_YEAR <= year <= LAST_YEAR:
            days |= _public(rules.country, rules.subdivision, year)
    return days


async def listing(conn: Connection, programme_id: str, rules: Parameters, first: date, last: date) -> list[Holiday]:
    """Return the holidays of a programme from one date to another, in order; of a day that is both the own name."""
    query = select(own_holiday.c.day, own_holiday.c.name).where(
        (own_holiday.c.programme_id == programme_id) & own_holiday.c.day.between(first.isoformat(), last.isoformat())
    )
    own = {date.fromisoformat(row.day): row.name for row in await conn.execute(query)}
    theirs = public(rules, range(first.year, last.year + 1))
    days = [(day, name) for day, name in sorted((theirs | own).items()) if first <= day <= last]
    return [Holiday(day, name, day in own, theirs.get(day)) for day, name in days]


async def within(conn: Connection, programme_id: str, rules: Parameters, span: Span) -> frozenset[date]:
    """Return the holidays of a programme among the local dates that a span touches; without an end, of a year."""
    zone = zone_named(rules.time_zone)
    end = span.start + timedelta(days=366) if span.end is None else span.end
    first, last = (when.astimezone(zone).date() for when in (span.start, end))
    return frozenset(one.day for one in await listing(conn, programme_id, rules, first, last))


async def add(tx: Transaction, programme_id: str, day: date, name: str, now: datetime, *, who: str) -> Holiday:
    """Let a programme's homes live as on a holiday on a date. Raises NotFoundError, ConflictError, InvalidError."""
    rules = (await programmes.get(tx.conn, programme_id)).parameters
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise InvalidError(f"A holiday has a name of 1 to {_LONGEST_NAME} characters.", field="name")
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise InvalidError(f"A holiday lies in the years {FIRST_YEAR} to {LAST_YEAR}.", field="day")
    where = (own_holiday.c.programme_id == programme_id) & (own_holiday.c.day == day.isoformat())
    if (await tx.conn.execute(select(own_holiday.c.name).where(where))).first() is not None:
        raise ConflictError(f"{day.isoformat()} is a day of this programme's own already.")
    row = {"programme_id": programme_id, "day": day.isoformat(), "name": name, "created_at": now, "created_by": who}
    await tx.conn.execute(insert(own_holiday).values(**row))
    await tx.audit(who, "add holiday", programme_id, after={"day": day.isoformat(), "name": name}, at=now)
    await dispatch.look_again(tx, now, programme_id=programme_id)
    return Holiday(day, name, own=True, public=public(rules, [day.year]).get(day))


async def remove(tx: Transaction, programme_id: str, day: date, now: datetime, *, who: str) -> str | None:
    """Take back a day that the operator added; return the name of the public holiday that it still is, or None.

    Raises NotFoundError.
    """
    where = (own_holiday.c.programme_id == programme_id) & (own_holiday.c.day == day.isoformat())
    name = (await tx.conn.execute(select(own_holiday.c.name).where(where))).scalar_one_or_none()
    if name is None:
        raise NotFoundError(f"{day.isoformat()} is no day of this programme's own.")
    await tx.conn.execute(delete(own_holiday).where(where))
    await tx.audit(who, "remove holiday", programme_id, {"day": day.isoformat(), "name": name}, at=now)
    await dispatch.look_again(tx, now, programme_id=programme_id)
    rules = (await programmes.get(tx.conn, programme_id)).parameters
    return public(rules, [day.year]).get(day)
