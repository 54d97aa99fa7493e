"""The portfolio, in the BRP API: what flexibility there is, and what either side says that it will consume."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from aggregator import money
from aggregator.brp_api.desk import BRP, party_of, writing
from aggregator.brp_api.values import MAX_INTERVALS, ULID, Id, shown
from aggregator.flexibility.pool import Pool, Step, pool
from aggregator.grid import Grid
from aggregator.trade import available_flexibility, contracts, nominations
from aggregator.trade.available_flexibility import Basis, Scope
from aggregator.trade.contracts import Price
from core.direction import Direction
from core.errors import ForbiddenError, InvalidError
from vtn.services import learning, programme
from web.api import Context
from web.model import Day, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_POTENTIAL = "/brp/v1/portfolio/potential"
_BASELINE = "/brp/v1/portfolio/baseline"
_KEEP_S = 60
_SHARES = ("0.25", "0.5", "0.75", "1")
_LONGEST = timedelta(hours=48)
_MOST_PARTS = 24
"""Of a day, each hour is looked at for itself: every part asks the database anew."""

Resolution = Literal[300, 900, 1800, 3600]


class PotentialInterval(Model):
    """What the homes that can be called would deliver together, in W."""

    start: UtcTime
    duration_s: int
    p10_w: int
    """At least so much in nine of ten cases."""
    p50_w: int
    p90_w: int
    at_confidence_w: int
    """At least so much with the confidence asked for."""
    available_w: int
    """What can still be sold: nine tenths of the p10, less what is offered or sold already."""


class WaterfallStep(Model):
    """What is left, from what stands on nameplates to what is offered (means over the time)."""

    name: str
    power_w: int
    vens: int


class PriceStep(Model):
    """What a kWh costs where an order uses up to this share of what is available."""

    share: str
    price_per_kwh: str


class Learning(Model):
    """How many homes of the programme have days enough for its baseline: what others deliver cannot be proven yet."""

    vens: int
    ready: int
    learning: int
    unheard: int
    """Their meters were never heard of."""
    needed: int
    """Days like that of an activation that the baseline needs."""
    ready_on: str | None
    """The local date from which, by and large, the last of those that learn is ready; null: none of them learns."""


class Potential(Model):
    """The flexibility of a contract's programme over a time."""

    contract_id: str
    programme_id: str
    direction: Direction
    area: str | None
    confidence: float
    at: UtcTime
    """When it was reckoned."""
    intervals: list[PotentialInterval]
    waterfall: list[WaterfallStep]
    currency: str
    prices: list[PriceStep]
    learning: Learning


class Nomination(Model):
    """What one side said that the portfolio will consume on a day: one revision."""

    contract_id: str
    day: Day
    """In UTC."""
    declared_by: Literal["brp", "aggregator"]
    revision: int
    step_s: int
    power_w: list[int]
    """Mean power of each step of the day, positive = consumption."""
    created_at: UtcTime


class NewNomination(Model):
    """What the portfolio will consume on a day."""

    contract_id: Id
    day: Day
    """In UTC."""
    step_s: Resolution = 900
    power_w: Annotated[tuple[Annotated[int, Field(ge=-(10**12), le=10**12)], ...], Field(min_length=24, max_length=288)]
    """Mean power of each step of the day, positive = consumption."""


POTENTIAL_EXAMPLE: dict[str, Any] = {
    "contract_id": f"ctr_{ULID}",
    "programme_id": f"prg_{ULID}",
    "direction": "reduce",
    "area": None,
    "confidence": 0.9,
    "at": "2026-01-31T12:00:00Z",
    "intervals": [
        {
            "start": "2026-01-31T17:00:00Z",
            "duration_s": 900,
            "p10_w": 104_000,
            "p50_w": 118_000,
            "p90_w": 131_000,
            "at_confidence_w": 104_000,
            "available_w": 84_000,
        }
    ],
    "waterfall": [
        {"name": "nameplate", "power_w": 310_000, "vens": 80},
        {"name": "offer", "power_w": 104_000, "vens": 64},
    ],
    "currency": "EUR",
    "learning": {"vens": 70, "ready": 64, "learning": 6, "unheard": 0, "needed": 5, "ready_on": "2026-02-03"},
    "prices": [{"share": "0.5", "price_per_kwh": "0.225"}, {"share": "1", "price_per_kwh": "0.25"}],
}
NOMINATIONS = Keyset("nominations", datetime, str, int)


def nomination_key(nomination: Nomination) -> tuple[datetime, str, int]:
    """Return the place of a nomination among those of its day: oldest first."""
    return (nomination.created_at, nomination.declared_by, nomination.revision)


NOMINATION_EXAMPLE: dict[str, Any] = {
    "contract_id": f"ctr_{ULID}",
    "day": "2026-02-01",
    "declared_by": "brp",
    "revision": 1,
    "step_s": 3600,
    "power_w": [120_000] * 24,
    "created_at": "2026-01-31T12:00:00Z",
}


@operation(
    "GET",
    _POTENTIAL,
    summary="Read how much flexibility is available",
    role="brp",
    scopes=["flex:read"],
    tags=["portfolio"],
    errors=[404],
    answer_example=POTENTIAL_EXAMPLE,
)
async def read_potential(
    context: Context,
    contract_id: Id,
    from_: UtcTime,
    until: UtcTime,
    direction: Direction = Direction.REDUCE,
    resolution_s: Resolution = 900,
    area: Annotated[str, Field(min_length=1, max_length=80)] | None = None,
    confidence: Annotated[float, Field(ge=0.5, le=0.999)] = 0.9,
) -> Potential:
    """Return the pool of a contract's programme per interval, at most 48 hours; good for a minute.

    Each interval is looked at for itself (of more than 24 intervals, a few together): a home that is in an event, opted
    out or outside its window in one counts in the others. For a call of all of the time, request that.
    """
    desk = context.service(BRP)
    now = desk.clock.now()
    grid = grid_of(from_, until, resolution_s)
    async with desk.sales.reading, desk.db.read() as conn:
        contract = await contracts.get(conn, contract_id, party_of(context))
        if contract.limits.areas and area not in contract.limits.areas:
            raise ForbiddenError(f"The contract is for the areas {', '.join(contract.limits.areas)}: name one of them.")
        rules = await programme.get(conn, contract.programme_id)
        scope = Scope(rules, direction, grid, area)
        bases = await desk.sales.read_parts(conn, scope, contract, now, _MOST_PARTS)
        learnt = await learning.of_programme(conn, rules, now)
    intervals, waterfall = await desk.sales.reckon(_reckon, bases, confidence)
    context.headers["Cache-Control"] = f"private, max-age={_KEEP_S}"
    return Potential(
        contract_id=contract.id,
        programme_id=contract.programme_id,
        direction=direction,
        area=area,
        confidence=confidence,
        at=now,
        intervals=intervals,
        waterfall=waterfall,
        currency=contract.price.currency,
        prices=_prices(contract.price),
        learning=Learning(**learning.shown(learnt)),
    )


def grid_of(start: datetime, until: datetime, step_s: int) -> Grid:
    """Return the steps between two times. Raises InvalidError if they do not fit, or are too many."""
    length = until - start
    if not timedelta() < length <= _LONGEST:
        raise InvalidError("'until' lies after 'from', by 48 hours at most.")
    if start.second or start.microsecond or length % timedelta(seconds=step_s):
        raise InvalidError(f"'from' is a whole minute, and 'until' lies a multiple of {step_s} s after it.")
    count = length // timedelta(seconds=step_s)
    if count > MAX_INTERVALS:
        raise InvalidError(f"That makes {count} intervals; ask for {MAX_INTERVALS} at most.")
    return Grid(start, step_s, count)


def _reckon(bases: list[Basis], confidence: float) -> tuple[list[PotentialInterval], list[WaterfallStep]]:
    """Pool the homes of each part. Takes CPU: use a thread."""
    intervals: list[PotentialInterval] = []
    falls: list[tuple[Step, ...]] = []
    for basis in bases:
        found = pool(basis.fleet)
        intervals += _intervals(basis, found, confidence)
        falls += [found.waterfall] * basis.scope.grid.count
    steps = [
        WaterfallStep(
            name=some[0].name,
            power_w=round(float(np.mean([one.power_w for one in some]))),
            vens=round(float(np.mean([one.vens for one in some]))),
        )
        for some in zip(*falls, strict=True)
    ]
    return intervals, steps


def _intervals(basis: Basis, homes: Pool, confidence: float) -> list[PotentialInterval]:
    grid = basis.scope.grid
    columns = (homes.p10_w, homes.p50_w, homes.p90_w, homes.at(confidence), available_flexibility.possible_w(basis))
    rows = np.floor(np.maximum(np.stack(columns, axis=1), 0.0) + 1e-6).astype(np.int64).tolist()
    return [
        PotentialInterval(
            start=grid.at(number),
            duration_s=grid.step_s,
            p10_w=row[0],
            p50_w=row[1],
            p90_w=row[2],
            at_confidence_w=row[3],
            available_w=row[4],
        )
        for number, row in enumerate(rows)
    ]


def _prices(price: Price) -> list[PriceStep]:
    base, margin = Decimal(price.per_kwh), Decimal(price.margin_per_kwh)
    return [PriceStep(share=share, price_per_kwh=money.unit_price(base + margin * Decimal(share))) for share in _SHARES]


@operation(
    "GET",
    _BASELINE,
    summary="Read both sides' nominations for a day",
    role="brp",
    scopes=["flex:read"],
    tags=["portfolio"],
    errors=[404],
    answer_example={"items": [NOMINATION_EXAMPLE], "next": None},
)
async def read_baseline(
    context: Context, contract_id: Id, day: Day, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[Nomination]:
    """Return every revision of both sides, oldest first; the newest of a side counts."""
    async with context.service(BRP).db.read() as conn:
        rows = await nominations.revisions(conn, contract_id, day, party_of(context))
    return NOMINATIONS.part([shown(Nomination, row) for row in rows], limit, cursor, key=nomination_key)


@operation(
    "PUT",
    _BASELINE,
    summary="Nominate a day's baseline",
    role="brp",
    scopes=["flex:request"],
    tags=["portfolio"],
    errors=[404, 409],
    example={"contract_id": f"ctr_{ULID}", "day": "2026-02-01", "step_s": 3600, "power_w": [120_000] * 24},
    answer_example=NOMINATION_EXAMPLE,
)
async def put_baseline(context: Context, body: NewNomination) -> Nomination:
    """Say what the portfolio will consume; until the day begins (UTC). The same again is no new revision.

    It bounds what is offered as a reduction, unless the aggregator nominates something else; and it is the baseline,
    where the programme's is `nominated`.
    """
    now, who = context.service(BRP).clock.now(), context.principal.name
    async with writing(context) as tx:
        made = await nominations.declare(
            tx,
            body.contract_id,
            body.day,
            "brp",
            body.step_s,
            body.power_w,
            now,
            who=who,
            party_id=party_of(context),
        )
    return shown(Nomination, made)


OPERATIONS = (read_potential, read_baseline, put_baseline)
