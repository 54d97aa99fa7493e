"""Which tariffs a household has, through the area of its site and its programmes, and what they cost together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from aggregator.tariff import tariffs
from aggregator.tariff.price_series import Series, total
from aggregator.tariff.tariffs import Kind, Tariff
from core.errors import NotFoundError
from core.spans import Span
from vtn.store.database import Connection
from vtn.store.tables import enrolment, site, ven


@dataclass(frozen=True, slots=True)
class Choice:
    """The tariffs that hold in one programme and area: of each kind at most one."""

    network: Tariff | None = None
    electricity: Tariff | None = None

    @property
    def both(self) -> tuple[Tariff, Tariff] | None:
        """Network and electricity, if there are both and they may be added: same currency, same VAT flag."""
        if self.network is None or self.electricity is None:
            return None
        same = _meaning(self.network) == _meaning(self.electricity)
        return (self.network, self.electricity) if same else None


@dataclass(frozen=True, slots=True)
class TariffPrices:
    """A tariff with its prices in a span; `version` is its newest (0: none)."""

    tariff: Tariff
    version: int
    prices: Series


@dataclass(frozen=True, slots=True)
class Total:
    """Network and electricity together, as one programme has them (None: of a household in no programme).

    `prices` is None where they cannot be added: another currency, or VAT in one and not in the other.
    """

    programme_id: str | None
    network_id: str
    electricity_id: str
    currency: str | None
    vat_included: bool | None
    prices: Series | None


@dataclass(frozen=True, slots=True)
class HouseholdTariffs:
    """What a household pays in a span: every tariff that is its, and what they are together."""

    ven_id: str
    area: str | None
    span: Span
    tariffs: tuple[TariffPrices, ...]
    totals: tuple[Total, ...]


def _meaning(tariff: Tariff) -> tuple[str, bool]:
    return tariff.currency, tariff.vat_included


def choose(candidates: Iterable[Tariff], programme_id: str | None, area: str | None) -> Choice:
    """Return the tariffs that hold in a programme and area.

    One for the programme goes before one for every programme, then one for the area before one for everywhere.
    """

    def best(kind: Kind) -> Tariff | None:
        fitting = [
            one
            for one in candidates
            if one.kind is kind and one.area in (None, area) and one.programme_id in (None, programme_id)
        ]
        return max(fitting, key=lambda row: (row.programme_id is not None, row.area is not None, row.id), default=None)

    candidates = list(candidates)
    return Choice(best(Kind.NETWORK), best(Kind.ELECTRICITY))


async def for_ven(conn: Connection, ven_id: str, span: Span, now: datetime) -> HouseholdTariffs:
    """Return the tariffs of a household in a span (which has an end). Raises NotFoundError for no such VEN."""
    query = select(site.c.area).select_from(ven.outerjoin(site, site.c.id == ven.c.site_id))
    row = (await conn.execute(query.where((ven.c.id == ven_id) & ven.c.removed_at.is_(None)))).one_or_none()
    if row is None:
        raise NotFoundError(f"No VEN '{ven_id}'.")
    programme_ids = await _programmes(conn, ven_id, now)
    candidates = await tariffs.in_force(conn, now)
    choices = [(one, choose(candidates, one, row.area)) for one in programme_ids]
    chosen = {one.id: one for _, choice in choices for one in (choice.network, choice.electricity) if one is not None}
    found = {tariff_id: await _prices(conn, one, span) for tariff_id, one in chosen.items()}
    totals = [
        _total(programme_id, choice.network, choice.electricity, found)
        for programme_id, choice in choices
        if choice.network is not None and choice.electricity is not None
    ]
    return HouseholdTariffs(ven_id, row.area, span, tuple(found.values()), tuple(totals))


async def coverage(conn: Connection, tariff: Tariff, now: datetime) -> tuple[int, int]:
    """Return how many VENs are in the tariff's programme and area, and for how many of them it holds."""
    candidates = await tariffs.in_force(conn, now)
    takes_part = (enrolment.c.valid_from <= now) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    query = (
        select(enrolment.c.programme_id, site.c.area, func.count(func.distinct(ven.c.id)).label("vens"))
        .select_from(
            ven.join(enrolment, (enrolment.c.ven_id == ven.c.id) & takes_part).outerjoin(
                site, site.c.id == ven.c.site_id
            )
        )
        .where(ven.c.removed_at.is_(None))
        .group_by(enrolment.c.programme_id, site.c.area)
    )
    fitting = holding = 0
    for row in await conn.execute(query):
        if tariff.programme_id in (None, row.programme_id) and tariff.area in (None, row.area):
            fitting += int(row.vens)
            choice = choose(candidates, row.programme_id, row.area)
            holding += int(row.vens) if tariff in (choice.network, choice.electricity) else 0
    return fitting, holding


async def vens_of(conn: Connection, party_id: str) -> list[str]:
    """Return the venIDs at the sites of a party: the household's own."""
    query = select(ven.c.id).join(site, site.c.id == ven.c.site_id)
    mine = (site.c.party_id == party_id) & ven.c.removed_at.is_(None)
    return list((await conn.execute(query.where(mine).order_by(ven.c.id))).scalars())


async def _programmes(conn: Connection, ven_id: str, now: datetime) -> Sequence[str | None]:
    """Return the programmes that a VEN takes part in now; if there is none, None in their place."""
    valid = (enrolment.c.valid_from <= now) & (enrolment.c.valid_to.is_(None) | (enrolment.c.valid_to > now))
    query = select(enrolment.c.programme_id).distinct().where((enrolment.c.ven_id == ven_id) & valid)
    return list((await conn.execute(query.order_by(enrolment.c.programme_id))).scalars()) or [None]


async def _prices(conn: Connection, tariff: Tariff, span: Span) -> TariffPrices:
    last = await tariffs.newest(conn, tariff.id)
    return TariffPrices(tariff, 0 if last is None else last.version, await tariffs.series(conn, tariff.id, span))


def _total(programme_id: str | None, network: Tariff, electricity: Tariff, prices: dict[str, TariffPrices]) -> Total:
    if Choice(network, electricity).both is None:
        return Total(programme_id, network.id, electricity.id, None, None, None)
    sums = total(prices[network.id].prices, prices[electricity.id].prices)
    return Total(programme_id, network.id, electricity.id, network.currency, network.vat_included, sums)
