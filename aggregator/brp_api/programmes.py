"""The programmes of a BRP's contracts, in the BRP API: what is sold, and under which rules."""

from typing import Any, Self

from aggregator.brp_api.desk import BRP, party_of
from aggregator.brp_api.values import ULID, Id
from aggregator.trade import contracts
from core.errors import NotFoundError
from metrics.presets import PRESETS
from vtn.services import programme
from web.api import Context
from web.model import IsoDuration, Model
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("brp-programmes", str)


_PATH = "/brp/v1/programmes"


class CallWindow(Model):
    """When homes may be called, in local time."""

    start: str
    end: str
    """At or before `start`: on the next day."""
    days: list[int]
    """1 = Monday; empty: all."""


class CallLimits(Model):
    """How often and how long a home may be called; null: no limit."""

    per_day: int | None
    per_week: int | None
    per_season: int | None
    rest: IsoDuration
    """Between two calls."""
    shortest: IsoDuration | None
    longest: IsoDuration | None
    windows: list[CallWindow]
    """Empty: always."""


class Baseline(Model):
    """How delivery is computed."""

    method: str
    citation: str
    """Where the method is laid down."""


class Programme(Model):
    """What is sold, and under which rules."""

    id: str
    version: int
    name: str
    product: str
    notification: IsoDuration
    """Notice that homes get before the start."""
    time_zone: str
    limits: CallLimits
    baseline: Baseline
    settlement_interval: IsoDuration
    """Length of the intervals in which delivery is computed and settled."""
    contract_ids: list[str]
    """Your contracts about it."""

    @classmethod
    def of(cls, stored: programme.Programme, contract_ids: list[str]) -> Self:
        """Return a programme as the API shows it."""
        rules, limits = stored.parameters, stored.parameters.limits
        preset = PRESETS.get(rules.baseline)
        return cls(
            id=stored.id,
            version=stored.version,
            name=stored.name,
            product=rules.product,
            notification=rules.notification,
            time_zone=rules.time_zone,
            limits=CallLimits(
                per_day=limits.per_day,
                per_week=limits.per_week,
                per_season=limits.per_season,
                rest=limits.rest,
                shortest=limits.shortest,
                longest=limits.longest,
                windows=[CallWindow(start=it.start, end=it.end, days=list(it.days)) for it in limits.windows],
            ),
            baseline=Baseline(
                method=f"{preset.id}/{preset.version}" if preset else rules.baseline,
                citation=preset.citation if preset else "",
            ),
            settlement_interval=rules.settlement_interval,
            contract_ids=contract_ids,
        )


_EXAMPLE: dict[str, Any] = {
    "id": f"prg_{ULID}",
    "version": 3,
    "name": "Evening peak",
    "product": "peak-reduction",
    "notification": "PT30M",
    "time_zone": "Europe/London",
    "limits": {
        "per_day": 1,
        "per_week": 3,
        "per_season": 30,
        "rest": "PT12H",
        "shortest": None,
        "longest": "PT4H",
        "windows": [{"start": "16:00", "end": "21:00", "days": [1, 2, 3, 4, 5]}],
    },
    "baseline": {"method": "10of10/2", "citation": "Mean of the 10 latest like days, adjusted by the day's own load."},
    "settlement_interval": "PT15M",
    "contract_ids": [f"ctr_{ULID}"],
}


@operation(
    "GET",
    _PATH,
    summary="List the programmes of your contracts",
    role="brp",
    scopes=["flex:read"],
    tags=["programmes"],
    answer_example={"items": [_EXAMPLE], "next": None},
)
async def list_programmes(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[Programme]:
    """Return each at its newest version; what was sold before keeps the version that it was sold under."""
    async with context.service(BRP).db.read() as conn:
        held = await contracts.by_programme(conn, party_of(context))
        rows = [Programme.of(await programme.get(conn, programme_id), ids) for programme_id, ids in held.items()]
    return _BY_ID.part(rows, limit, cursor, key=lambda row: (row.id,))


@operation(
    "GET",
    f"{_PATH}/{{programme_id}}",
    summary="Read a programme",
    role="brp",
    scopes=["flex:read"],
    tags=["programmes"],
    errors=[404],
    answer_example=_EXAMPLE,
)
async def read_programme(context: Context, programme_id: Id) -> Programme:
    """Return one programme at its newest version."""
    async with context.service(BRP).db.read() as conn:
        held = await contracts.by_programme(conn, party_of(context))
        if programme_id not in held:
            raise NotFoundError(f"No programme '{programme_id}'.")
        return Programme.of(await programme.get(conn, programme_id), held[programme_id])


OPERATIONS = (list_programmes, read_programme)
