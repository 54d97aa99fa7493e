"""Which source counts, interval by interval, and sub-meters (vtn.services.precedence, settlement_series)."""

from datetime import timedelta

import numpy as np
import pytest

from core.errors import InvalidError
from core.points import Flow, Kind, Quality, Quantity
from core.spans import Duration
from openadr.model.report import Report, ReportDescription, ReportInterval, ReportOffer, ReportPayload, SamplingRate
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH
from support.vtn_world import HOUR, MINUTE, NOON
from vtn.services import load_profile, precedence, settlement_series
from vtn.services.meter_data import key_of_meter
from vtn.services.precedence import Rank
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.data_point import usage_of
from vtn.store.readings import SeriesKey, Values, store
from vtn.store.tables import resource

START = int(NOON.timestamp())
QUARTER = 900
PLAIN = (Rank.METER, Rank.REGISTER, Rank.POWER, Rank.ESTIMATE)


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


async def put(world, ven, kind, *values, step=QUARTER, first=0, estimated=False, resource_id="home"):
    """Store values (Wh, or W) of one source, `step` seconds each."""
    if kind == "meter":
        key, unit = key_of_meter(ven.ven_id, "MP1", Flow.IMPORT), "Wh"
    elif kind == "power":
        key, unit = SeriesKey(ven.ven_id, resource_id, Quantity.POWER_REAL, Kind.MEAN, point=usage_of(resource_id)), "W"
    else:
        key, unit = SeriesKey(ven.ven_id, resource_id, Quantity.ENERGY_REAL, kind, point=usage_of(resource_id)), "Wh"
    words = (Quality.ESTIMATED.value,) * len(values) if estimated else None
    async with world.tx() as tx:
        await store(tx, key, unit, Values(START + first, step, values, qualities=words), world.now)


async def profile(world, ven, cells=4):
    async with world.db.read() as conn:
        spans = {ven.ven_id: (START, START + QUARTER * cells)}
        one = (await load_profile.metered_of_each(conn, spans, QUARTER))[ven.ven_id]
    return one.series.energy_wh.tolist(), [precedence.word(rank) for rank in one.ranks.tolist()]


async def test_the_settlement_meter_goes_before_telemetry_of_any_interval(any_world):
    """An hour of the meter, 4 x 250 Wh, against 15 quarters of a minute that say 100 Wh a quarter."""
    world = any_world
    ven = await world.ven()
    await put(world, ven, "sum", *[100 / 15] * 60, step=60)
    assert (await profile(world, ven))[0] == pytest.approx([100] * 4)
    await put(world, ven, "meter", 1000.0, step=3600)
    assert await profile(world, ven) == (pytest.approx([250] * 4), ["settlement meter"] * 4)


async def test_each_interval_has_the_first_source_that_covers_it(world):
    ven = await world.ven()
    await put(world, ven, "power", 400.0, 400.0, 400.0, 400.0)
    await put(world, ven, "sum", 90.0, 90.0, 90.0)
    await put(world, ven, "meter", 80.0)
    await put(world, ven, "meter", 70.0, first=QUARTER, estimated=True)
    energy, sources = await profile(world, ven, cells=5)
    np.testing.assert_allclose(energy, [80, 90, 90, 100, np.nan])
    assert sources == ["settlement meter", "VEN register", "VEN register", "VEN power", None]


async def test_an_estimate_counts_where_nothing_else_does(world):
    ven = await world.ven()
    await put(world, ven, "sum", 90.0, 90.0, estimated=True)
    await put(world, ven, "power", 400.0)
    await put(world, ven, "meter", 70.0, first=QUARTER, estimated=True)
    energy, sources = await profile(world, ven, cells=2)
    assert (energy, sources) == ([100, 70], ["VEN power", "estimate"])


async def test_what_is_doubtful_gives_way_to_the_next_source(world):
    """100 kWh in a quarter is more than a home's connection carries."""
    ven = await world.ven()
    await put(world, ven, "sum", 100_000.0, 90.0)
    await put(world, ven, "power", 400.0, 400.0)
    assert await profile(world, ven, cells=2) == ([100, 90], ["VEN power", "VEN register"])


async def test_a_register_goes_before_a_mean_power_and_after_energies(world):
    ven = await world.ven()
    await put(world, ven, "power", 400.0, 400.0)
    await put(world, ven, "register", 1000.0, 1080.0, 1160.0)
    await put(world, ven, "sum", 70.0)
    assert await profile(world, ven, cells=2) == ([70, 80], ["VEN register", "VEN register"])


async def test_what_the_operator_chose_stands_behind_the_meter_too(world):
    ven = await world.ven()
    await put(world, ven, "sum", 90.0, 90.0)
    await put(world, ven, "power", 400.0, 400.0)
    async with world.tx() as tx:
        (number,) = [row.id for row in await world.rows("series") if row.quantity == "power_real"]
        await settlement_series.choose(tx, ven.ven_id, [number], world.now, who="ann")
    assert await profile(world, ven, cells=2) == ([100, 100], ["VEN power"] * 2)
    await put(world, ven, "meter", 80.0)
    assert await profile(world, ven, cells=2) == ([80, 100], ["settlement meter", "VEN power"])


async def told(world, ven, **energies):
    """Report half hours of several resources, each with a data point of its own."""
    said = tuple(
        ReportDescription(
            name, "usage", "Direct Read", Target(resource_ids=(name,)), item_base=ENERGY_REAL_WH,
            sampling=SamplingRate(MINUTE, HOUR),
        )
        for name in energies
    )  # fmt: skip
    (wish,) = await ven.offer(ReportOffer("usage", "TELEMETRY_USAGE", HOUR, said, NOON))
    rows = (ReportInterval(tuple(ReportPayload(n, wh) for n, wh in energies.items()), NOON, Duration.of(minutes=15)),)
    sent = Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, rows, NOON + timedelta(hours=1))
    assert (await ven.report(sent)).response.code == 200


async def test_sub_meters_of_a_home_do_not_add_to_its_main_meter(world):
    """4,000 Wh, of which a heat pump used 2,647 and a car 1,500: not 8,147."""
    ven = await world.ven()
    await told(world, ven, main=4000.0, heat_pump=2647.0, car=1500.0)
    assert await profile(world, ven, cells=1) == ([8147], ["VEN register"]), (
        "nothing says which of them is the main one"
    )
    async with world.tx() as tx:
        kinds = {"heat_pump": "x-heat-pump", "car": "Electric_Vehicle"}
        for name, kind in kinds.items():
            where = (resource.c.ven_id == ven.ven_id) & (resource.c.resource_id == name)
            await tx.conn.execute(resource.update().where(where).values(device_class=kind))
    assert await profile(world, ven, cells=1) == ([4000], ["VEN register"])


async def test_a_sub_meter_and_the_main_meter_cannot_be_chosen_together(world):
    ven = await world.ven()
    await told(world, ven, main=4000.0, heat_pump=2647.0, car=1500.0)
    numbers = [row.id for row in await world.rows("series")]
    async with world.tx() as tx:
        of_car = (resource.c.ven_id == ven.ven_id) & (resource.c.resource_id == "car")
        await tx.conn.execute(resource.update().where(of_car).values(device_class="Electric_Vehicle"))
        with pytest.raises(InvalidError, match=r"car lies behind (main|heat_pump): a sub-meter does not add"):
            await settlement_series.choose(tx, ven.ven_id, numbers, world.now, who="ann")
        main = [row.id for row in await world.rows("series") if row.resource_id == "main"]
        await settlement_series.choose(tx, ven.ven_id, main, world.now, who="ann")
    assert await profile(world, ven, cells=1) == ([4000], ["VEN register"])


async def test_the_settlement_meter_takes_no_sub_meter_to_it(world):
    ven = await world.ven()
    await told(world, ven, main=4000.0, heat_pump=2647.0, car=1500.0)
    await put(world, ven, "meter", 4000.0)
    assert await profile(world, ven, cells=1) == ([4000], ["settlement meter"])


def test_every_rank_has_its_word():
    assert [precedence.word(rank) for rank in PLAIN] == list(precedence.WORDS.values())
    assert precedence.word(Rank.UNKNOWN) is None
