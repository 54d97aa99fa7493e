"""A small market for pages to show: homes with areas, groups, meters and potential, a programme, a BRP, a tariff."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update

from aggregator.scopes import SCOPES
from aggregator.tariff import tariffs
from aggregator.tariff.price_series import Price as TariffPrice
from aggregator.tariff.tariffs import Kind as TariffKind
from aggregator.tariff.tariffs import NewTariff, Source
from aggregator.trade import brps, contracts
from aggregator.trade.contracts import Contract, ContractTerms, Limits, Price
from core.points import Kind, Quantity
from core.spans import Duration, floor_to
from openadr.model.assessment import DELTA
from openadr.model.opt import OptType
from openadr.model.target import Target
from vtn.services import api_clients, event, fleet, potential, programme, provisioning, site
from vtn.services.event import Answer
from vtn.services.potential import Figures
from vtn.services.programme import Limits as CallLimits
from vtn.services.programme import Parameters, Programme, Reward
from vtn.store import readings
from vtn.store.data_point import DataPoint, digest
from vtn.store.database import Database, Transaction
from vtn.store.readings import SeriesKey, Values
from vtn.store.tables import delivery as delivery_table
from vtn.store.tables import ven as ven_table

WHO = "seed"
USUAL_W = 3000.0
CAN_W = 1000.0


@dataclass(frozen=True)
class Homes:
    """What was made."""

    ven_ids: tuple[str, ...]
    programme: Programme
    party_id: str
    contract: Contract
    client_secret: str
    tariff_id: str
    group_id: str


async def seed(db: Database, now: datetime, names: Sequence[str], *, days: int = 14, zone: str = "UTC") -> Homes:
    """Make a home for each name, all of them online, with `days` of half hours in their meters."""
    parameters = Parameters(
        time_zone=zone,
        limits=CallLimits(per_day=6, per_season=60),
        reward=Reward("EUR", "0.18", "0.05"),
        baseline="high5of10",
    )
    async with db.write() as tx:
        ven_ids = [await provisioning.create_ven(tx, name, now, who=WHO) for name in names]
        made = await programme.create(tx, "Evening peak", "http://grid.example/evening", parameters, now, who=WHO)
        await programme.enrol(tx, made.id, ven_ids, now, who=WHO)
        group = await fleet.create_group(tx, "Heat pumps", now, who=WHO)
        await fleet.add_to_group(tx, group.id, ven_ids[::2], now, who=WHO)
        for number, ven_id in enumerate(ven_ids):
            await site.set_area(tx, [ven_id], "North" if number % 3 else "South", now, who=WHO, time_zone=zone)
            await can(tx, ven_id, now, CAN_W * (0.7 + 0.1 * (number % 7)))
        await seen(tx, ven_ids, now)
        party_id = await brps.create(tx, "Balance & Co", now, who=WHO, email="desk@brp.example")
        scopes = ["flex:read", "flex:request"]
        _, secret = await api_clients.create(tx, party_id, "main", scopes, now, who=WHO, offered=SCOPES)
        limits = Limits(max_power_w=2_000_000, direct_orders=True, per_ven_rows=True)
        price = Price("EUR", "0.20", "0.05", "0.40")
        contract = await contracts.create(tx, ContractTerms(party_id, made.id, limits, price), now, who=WHO)
        tariff_id = await _tariff(tx, now)
    for ven_id in ven_ids:
        await meter(db, ven_id, floor_to(now, 86400) - timedelta(days=days), floor_to(now, 1800), now)
    return Homes(tuple(ven_ids), made, party_id, contract, secret, tariff_id, group.id)


async def can(tx: Transaction, ven_id: str, now: datetime, power_w: float) -> None:
    """Let a home report a potential for two days, both ways."""
    start_s = int(floor_to(now, 1800).timestamp())
    steps = 96
    figures = [
        Figures("heat pump", direction, start_s, 1800, *(tuple(power_w * part for _ in range(steps)) for part in parts))
        for direction, parts in (("reduce", (0.8, 1.0, 1.1)), ("increase", (0.3, 0.5, 0.6)))
    ]
    await potential.derived(tx, ven_id, figures, now)


async def seen(tx: Transaction, ven_ids: Sequence[str], now: datetime) -> None:
    """Note that VENs were heard of just now."""
    registered = {"last_seen_at": now, "registered_at": now}
    await tx.conn.execute(update(ven_table).where(ven_table.c.id.in_(ven_ids)).values(**registered))


async def meter(
    db: Database, ven_id: str, start: datetime, end: datetime, now: datetime, *, less_w: float = 0.0, step_s: int = 1800
) -> None:
    """Store what a home's meter read in a time: its usual power, less something."""
    key = SeriesKey(ven_id, "meter", Quantity.ENERGY_REAL, Kind.SUM)
    first_s, last_s = int(start.timestamp()), int(end.timestamp())
    values = tuple((_usual_w(at_s) - less_w) * step_s / 3600 for at_s in range(first_s, last_s, step_s))
    if values:
        async with db.write() as tx:
            await readings.store(tx, key, "Wh", Values(first_s, step_s, values), now)


async def word(
    db: Database, ven_id: str, start: datetime, delta_w: Sequence[float], now: datetime, step_s: int = 1800
) -> None:
    """Store what a home itself says by how much it changed its consumption from a time on."""
    target = Target(resource_ids=("meter",))
    point = DataPoint(digest("own", DELTA, "Derived", target, Target()), "own", DELTA, "Derived", target)
    key = SeriesKey(ven_id, "meter", Quantity.ENERGY_REAL, Kind.SUM, point=point)
    values = Values(int(start.timestamp()), step_s, tuple(watts * step_s / 3600 for watts in delta_w))
    async with db.write() as tx:
        await readings.store(tx, key, "Wh", values, now)


def _usual_w(at_s: int) -> float:
    hour = at_s % 86400 / 3600
    return USUAL_W + 400 * math.sin((hour - 6) / 24 * 2 * math.pi)


async def _tariff(tx: Transaction, now: datetime) -> str:
    made = await tariffs.create(
        tx, NewTariff(TariffKind.ELECTRICITY, "Day ahead", "EUR", vat_included=True), now, who=WHO
    )
    hour = Duration.of(hours=1)
    start = floor_to(now, 86400)
    prices = []
    for number in range(48):
        at = start + number * hour.timedelta()
        amount = 0.25 + 0.08 * math.sin(number / 24 * 2 * math.pi)
        prices.append(TariffPrice(at, hour.after(at), f"{amount:.4f}"))
    await tariffs.put_prices(tx, made.id, prices, now, who=WHO, source=Source.CONSOLE)
    return made.id


async def answer(
    db: Database, dispatch_id: str, now: datetime, *, out: Sequence[str] = (), silent: Sequence[str] = ()
) -> None:
    """Let the VENs of a dispatch fetch their events and opt in, but for those that opt out or say nothing."""
    async with db.write() as tx:
        listed = await event.of_dispatch(tx.conn, dispatch_id)
        said = {ven_id: OptType.OUT if ven_id in out else OptType.IN for ven_id, _ in listed if ven_id not in silent}
        answers = {
            ven_id: [Answer(one.event_id, one.modification_number, said[ven_id], 200)]
            for ven_id, one in listed
            if ven_id in said
        }
        await event.record_answers(tx, answers, now)
        sent = delivery_table.c.event_id.in_([one.event_id for ven_id, one in listed if ven_id not in silent])
        await tx.conn.execute(update(delivery_table).where(sent).values(first_sent_at=now, last_sent_at=now))
