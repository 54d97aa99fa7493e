"""Which series are settled: by meaning, or as the operator chose (vtn.services.settlement_series)."""

import numpy as np
import pytest

from core.errors import InvalidError, NotFoundError
from core.points import Flow, Kind, Phase, Quantity
from core.spans import Duration
from openadr.model.report import Report, ReportDescription, ReportInterval, ReportOffer, ReportPayload, SamplingRate
from openadr.model.target import Grid, Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from support.vtn_world import HOUR, MINUTE, NOON
from vtn.services import load_profile, settlement_series, site
from vtn.services.settings import VtnSettings, WantedReport
from vtn.services.settlement_series import by_meaning
from vtn.store.data_point import DataPoint, digest
from vtn.store.readings import SeriesKey, load, numbered

START = int(NOON.timestamp())


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


def key(r_id, *sources, quantity=Quantity.ENERGY_REAL, kind=Kind.SUM, subject=(), source="ven", other=(), **more):
    criteria = Target(resource_ids=sources, other=other)
    words = more.get("report_type", "usage"), more.get("reading_type", "Direct Read")
    about = Target(device_classes=subject)
    said = DataPoint(
        digest(r_id, *words, criteria, about),
        r_id,
        *words,
        criteria,
        about,
        more.get("flow", Flow.IMPORT),
        more.get("phase", Phase.TOTAL),
        more.get("ambiguous", False),
    )
    return SeriesKey("v", "+".join(sources) or r_id, quantity, kind, source, said)


ENERGY = key("e", "home")
POWER = key("p", "home", quantity=Quantity.POWER_REAL, kind=Kind.MEAN)
REGISTER = key("r", "home", kind=Kind.REGISTER)
EXPORT = key("x", "home", flow=Flow.EXPORT)
TARGET = key("t", "home", report_type="setPoint", quantity=Quantity.POWER_REAL, kind=Kind.MEAN)
PHASES = [key(f"l{n}", "home", phase=phase) for n, phase in enumerate(Phase) if phase is not Phase.TOTAL]
TWINS = [key(name, "home", ambiguous=True) for name in ("one", "two")]
CHOICES = {
    "nothing": ([], []),
    "export is taken off": ([EXPORT, ENERGY], [(ENERGY,), (EXPORT,)]),
    "export of another report type": (
        [x := key("x", "home", report_type="x-export", flow=Flow.EXPORT), ENERGY],
        [(ENERGY,), (x,)],
    ),
    "export alone": ([EXPORT], []),
    "no planned export": ([key("x", "home", report_type="setPoint", flow=Flow.EXPORT), ENERGY], [(ENERGY,)]),
    "no export of another resource": ([key("x", "roof", flow=Flow.EXPORT), ENERGY], [(ENERGY,)]),
    "what is generated is no export": ([key("home/pv", "home", flow=Flow.EXPORT), ENERGY], [(ENERGY,)]),
    "what a generator makes is no export": (
        [key("x", "home", flow=Flow.EXPORT, subject=("Generation_Systems",)), ENERGY],
        [(ENERGY,)],
    ),
    "net has its export in it": ([EXPORT, net_ := key("n", "home", flow=Flow.NET)], [(net_,)]),
    "exports that nobody can tell apart: nothing": (
        [ENERGY, *(key(name, "home", flow=Flow.EXPORT, ambiguous=True) for name in ("x1", "x2"))],
        [],
    ),
    "means are metered, too": (
        [mean := key("p", "home", reading_type="Mean", quantity=Quantity.POWER_REAL, kind=Kind.MEAN)],
        [(mean,)],
    ),
    "powers of moments, where there is nothing else": (
        [moments := key("i", "home", quantity=Quantity.POWER_REAL, kind=Kind.INSTANT)],
        [(moments,)],
    ),
    "means before moments": ([moments, POWER], [(POWER,)]),
    "usage and not a set-point": ([TARGET, POWER], [(POWER,)]),
    "usage and not a baseline": ([key("b", "home", report_type="baseline"), ENERGY], [(ENERGY,)]),
    "no estimates": ([key("e", "home", reading_type="Estimated"), POWER], [(POWER,)]),
    "energies before registers before powers": ([POWER, REGISTER, ENERGY], [(ENERGY,)]),
    "registers before powers": ([POWER, REGISTER], [(REGISTER,)]),
    "import before net": ([key("n", "home", flow=Flow.NET), ENERGY], [(ENERGY,)]),
    "net if there is no import": ([net := key("n", "home", flow=Flow.NET)], [(net,)]),
    "readings, where nothing is called usage": ([reading := key("e", "home", report_type="reading")], [(reading,)]),
    "telemetry and history under two rIDs": ([ENERGY, again := key("e2", "home")], [(ENERGY, again)]),
    "three phases": (PHASES, [(one,) for one in PHASES]),
    "the total and not its phases": ([*PHASES, ENERGY], [(ENERGY,)]),
    "both resources": ([a := key("a", "a"), b := key("b", "b")], [(a,), (b,)]),
    "A and B together and not A again": ([a, both := key("ab", "a", "b")], [(both,)]),
    "everything and not one resource of it": ([a, everything := key("all")], [(everything,)]),
    "the house and not its heater": ([ENERGY, key("h", "home", subject=("Water_Heater",))], [(ENERGY,)]),
    "a heater, if there is nothing else": ([heater := key("h", "home", subject=("Water_Heater",))], [(heater,)]),
    "a meter's file before its VEN": ([ENERGY, filed := key("e", "home", source="meter file")], [(filed,)]),
    "twins: nothing": (TWINS, []),
    "twins of one resource: nothing of the other either": ([*TWINS, b], []),
    "twins beside a total of another kind": ([*TWINS, POWER], []),
}


@pytest.mark.parametrize(("keys", "expected"), CHOICES.values(), ids=CHOICES)
def test_what_is_settled_is_chosen_by_meaning(keys, expected):
    own = dict(enumerate(keys))
    basis = by_meaning(own)
    assert [tuple(own[number] for number in part.numbers) for part in basis.parts] == expected
    gross = all(part.key.point.flow is Flow.IMPORT for part in basis.parts)
    assert basis.flow == ("none" if not expected else "gross" if gross else "net")
    assert expected or not keys or basis.notes, "nothing is left out without a word"


METERS = {
    "a device's resource lies behind what is none": (
        [main := key("m", "home"), key("h", "heater")], None, frozenset({"heater"}), [main]
    ),
    "a device alone is what there is": ([heater_ := key("h", "heater")], None, frozenset({"heater"}), [heater_]),
    "a meter goes before resources": (
        [key("h", "heater"), main_ := key("m", other=((Grid.METER_ASSET, "MP9"),))], None, frozenset(), [main_]
    ),
    "several meters of one metering point that none of them names": ([a, b], "MP1", frozenset(), []),
    "one meter at a metering point that it does not name": ([a], "MP1", frozenset(), [a]),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "metering_point", "devices", "expected"), METERS.values(), ids=METERS)
def test_a_sub_meter_never_adds_to_the_main_meter(keys, metering_point, devices, expected):
    basis = by_meaning(dict(enumerate(keys)), metering_point, devices)
    assert [part.key for part in basis.parts] == expected
    assert expected or basis.notes


FILED, FILED_EXPORT = (key(flow.value, "MP1", source="meter file", flow=flow) for flow in (Flow.IMPORT, Flow.EXPORT))
FILES = {
    "of a VEN that is settled net": ([ENERGY, EXPORT], [FILED, FILED_EXPORT], [ENERGY, EXPORT]),
    "of a VEN that is settled gross": ([ENERGY], [FILED], [ENERGY]),
    "of a VEN without series": ([], [FILED, FILED_EXPORT], []),
}


@pytest.mark.parametrize(("reported", "parts", "behind"), FILES.values(), ids=FILES)
def test_the_settlement_meters_export_is_taken_off_as_the_vens(reported, parts, behind):
    basis = by_meaning(dict(enumerate([*reported, FILED, FILED_EXPORT])))
    assert [part.key for part in basis.parts] == parts
    assert [part.key for part in basis.behind] == behind
    assert basis.notes.count("What is exported is taken off.") == (FILED_EXPORT in parts)


@pytest.mark.parametrize("metered", [key("e", "MP1"), key("MP1", "x"), key("e", other=(("meterAsset", "MP1"),))])
def test_the_sites_metering_point_goes_before_everything_else(metered):
    basis = by_meaning({1: key("e", "home", "shed"), 2: metered}, "MP1")
    assert [part.key for part in basis.parts] == [metered]
    assert basis.notes == ("The metering point MP1.",)


# -- in a VTN


async def told(world, ven, *lines, values, step=HOUR):
    rate = SamplingRate(MINUTE, HOUR)
    home = Target(resource_ids=("home",))
    said = tuple(
        ReportDescription(r_id, report_type, "Direct Read", home, item_base=base, sampling=rate)
        for r_id, report_type, base in lines
    )
    (wish,) = await ven.offer(ReportOffer("usage", "TELEMETRY_USAGE", HOUR, said, NOON))
    edge, rows = NOON, []
    for row in values:
        payloads = tuple(ReportPayload(one.r_id, value) for one, value in zip(said, row, strict=True))
        rows.append(ReportInterval(payloads, edge, step))
        edge = (step or HOUR).after(edge)
    sent = Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, tuple(rows), NOON)
    world.clock.advance(to=max(edge, world.now))
    assert (await ven.report(sent)).response.code == 200


async def energy(world, ven, hours=1):
    async with world.db.read() as conn:
        return (await load_profile.energy(conn, ven.ven_id, START, START + 3600 * hours, 3600)).energy_wh.tolist()


async def choose(world, ven, *r_ids, who="ann"):
    async with world.tx() as tx:
        numbers = [n for n, one in (await numbered(tx.conn, [ven.ven_id])).items() if one.point.r_id in r_ids]
        return await settlement_series.choose(tx, ven.ven_id, numbers, world.now, who=who)


IMPORT_AND_EXPORT = (("imp", "usage", ENERGY_REAL_WH), ("exp", "x-export", ENERGY_REAL_WH))


async def test_export_is_taken_off_unless_the_operator_wants_it_gross(any_world):
    world = any_world
    ven = await world.ven()
    await told(world, ven, *IMPORT_AND_EXPORT, values=[(100.0, 900.0)])
    assert await energy(world, ven) == [-800]
    basis = await choose(world, ven, "imp")
    assert (basis.flow, basis.chosen_by) == ("gross", "ann")
    assert await energy(world, ven) == [100]
    basis = await choose(world, ven)
    assert (basis.flow, basis.notes) == ("net", ("What is exported is taken off.",))
    assert await energy(world, ven) == [-800]
    (first, second) = [row for row in await world.rows("audit") if row.action == "choose settlement series"]
    assert (first.who, first.before["chosen_by"], second.after["chosen_by"]) == ("ann", "meaning", "meaning")


async def test_a_chosen_series_stays_chosen_under_a_new_r_id(world):
    ven = await world.ven()
    await told(world, ven, ("one", "usage", ENERGY_REAL_WH), values=[(1.0,)])
    await choose(world, ven, "one")
    await told(world, ven, ("other", "usage", ENERGY_REAL_WH), values=[(2.0,)])
    assert await energy(world, ven) == [2]


async def test_what_cannot_be_settled_cannot_be_chosen(world):
    ven, other = await world.ven(), await world.ven()
    lines = ("e", "usage", ENERGY_REAL_WH), ("p", "usage", POWER_REAL_W)
    await told(world, ven, *lines, values=[(1.0, 2.0)])
    await told(world, other, *lines, values=[(1.0, 2.0)])
    with pytest.raises(InvalidError, match="twice"):
        await choose(world, ven, "e", "p")
    async with world.tx() as tx:
        strange = [n for n, one in (await numbered(tx.conn, [other.ven_id])).items()]
        with pytest.raises(InvalidError, match="no metered"):
            await settlement_series.choose(tx, ven.ven_id, strange, world.now, who="ann")
        with pytest.raises(NotFoundError):
            await settlement_series.choose(tx, "nobody", [], world.now, who="ann")


async def test_what_the_connection_cannot_carry_is_never_settled(any_world):
    world = any_world
    ven = await world.ven()
    await told(world, ven, ("e", "usage", ENERGY_REAL_WH), values=[(500.0,), (1_234_600.0,), (500.0,)])
    np.testing.assert_equal(await energy(world, ven, 3), [500, np.nan, 500])
    async with world.tx() as tx:
        await site.set_connection(tx, ven.ven_id, 2_000_000, world.now, time_zone="UTC", who="ann")
    assert await energy(world, ven, 3) == [500, 1_234_600, 500]


async def test_a_mean_power_above_the_connection_is_never_settled(world):
    ven = await world.ven()
    await told(world, ven, ("p", "usage", POWER_REAL_W), values=[(500.0,), (5e6,), (-5e6,), (500.0,)])
    np.testing.assert_equal(await energy(world, ven, 4), [500, np.nan, np.nan, 500])


async def test_a_register_is_settled_as_its_differences_and_one_zero_is_bridged(world):
    ven = await world.ven()
    values = [1_230_000.0 + 600 * n for n in range(7)]
    values[2] = 0.0
    await told(world, ven, ("r", "usage", ENERGY_REAL_WH), values=[(one,) for one in values], step=None)
    assert await energy(world, ven, 6) == [600] * 6
    async with world.db.read() as conn:
        ((_, own),) = (await numbered(conn, [ven.ven_id])).items()
        read = load_profile.marked(await load(conn, own, 0, 2**33), own, 43_470)
    assert read.values.tolist() == values, "all of it is kept"
    assert read.words.tolist() == ["good", "good", "uncertain", "good", "good", "good", "good"]


async def test_what_its_sender_calls_uncertain_is_never_settled(world):
    ven = await world.ven()
    rate = SamplingRate(MINUTE, HOUR)
    line = ReportDescription("e", "usage", "Direct Read", item_base=ENERGY_REAL_WH, sampling=rate)
    (wish,) = await ven.offer(ReportOffer("usage", "TELEMETRY_USAGE", HOUR, (line,), NOON))
    words = ("Quality Uncertain - Non Specific", "Quality Uncertain - Sensor Not Accurate")
    rows = tuple(
        ReportInterval((ReportPayload("e", 5.0, word),), Duration.of(hours=n).after(NOON), HOUR)
        for n, word in enumerate(words)
    )
    await ven.report(Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, rows, NOON))
    np.testing.assert_equal(await energy(world, ven, 2), [5, np.nan])
