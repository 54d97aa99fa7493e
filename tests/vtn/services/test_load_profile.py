"""A VEN's energy on an even grid: gaps, overlaps, resources (vtn.services.load_profile)."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.points import Flow, Kind, Phase, Quality, Quantity
from core.spans import Duration
from openadr.model.report import Report, ReportDescription, ReportInterval, ReportOffer, ReportPayload, SamplingRate
from openadr.model.target import EVERYTHING, Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W
from support.metered import metered_ven
from support.vtn_world import MINUTE, NOON, data, usage
from vtn.services import load_profile
from vtn.services.precedence import Rank
from vtn.services.settings import VtnSettings, WantedReport
from vtn.services.settlement_series import Basis, Part
from vtn.store.data_point import DIRECT_READ, USAGE, DataPoint, digest
from vtn.store.readings import Loaded, SeriesKey

FIELDS = ("starts_s", "durations_s", "values", "words")

HALF_S = 1800
START = int(NOON.timestamp())


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


def loaded(*rows):
    """Return readings from (start, duration, value) in seconds after START."""
    starts, durations, values = zip(*rows, strict=True) if rows else ((), (), ())
    return Loaded(
        np.array(starts, np.int64) + START,
        np.array(durations, np.int64),
        np.array(values, np.float64),
        np.full(len(rows), "good"),
    )


def on_grid(*rows, cells=3, is_power=False):
    return load_profile.on_grid(loaded(*rows), START, cells, HALF_S, is_power=is_power)


NAN = float("nan")
CASES = {
    "one interval a cell": ([(0, 1800, 1), (1800, 1800, 2), (3600, 1800, 3)], [1, 2, 3]),
    "minutes": ([(60 * n, 60, 1) for n in range(90)], [30, 30, 30]),
    "a missing minute leaves its cell unknown": ([(60 * n, 60, 1) for n in range(90) if n != 40], [30, NAN, 30]),
    "a bridged gap keeps its sum": (
        [(60 * n, 60, 1) for n in range(20)] + [(1200, 2400, 80)] + [(60 * n, 60, 1) for n in range(60, 90)],
        [20 + 80 / 4, 60, 30],
    ),
    "one long interval is spread evenly": ([(0, 5400, 9)], [3, 3, 3]),
    "intervals that reach beyond the grid": ([(-1800, 3600, 2), (1800, 1800, 5), (3600, 7200, 8)], [1, 5, 2]),
    "the shorter intervals count where history covers them again": (
        [(60 * n, 60, 1) for n in range(90)] + [(0, 1800, 999), (1800, 1800, 999)],
        [30, 30, 30],
    ),
    "history fills what telemetry lacks": (
        [(60 * n, 60, 1) for n in range(45)] + [(0, 1800, 60), (1800, 1800, 60), (3600, 1800, 60)],
        [30, 15 + 30, 60],
    ),
    "missing values cover nothing": ([(0, 1800, 1), (1800, 1800, NAN), (3600, 1800, 3)], [1, NAN, 3]),
    "instants are no energy": ([(0, 0, 7), (0, 1800, 1)], [1, NAN, NAN]),
    "nothing": ([], [NAN, NAN, NAN]),
    "off the grid": ([(900, 1800, 4), (2700, 1800, 8)], [NAN, 2 + 4, NAN]),
}


@pytest.mark.parametrize(("rows", "expected"), CASES.values(), ids=CASES)
def test_energies_on_a_grid(rows, expected):
    np.testing.assert_allclose(on_grid(*rows), expected)
    np.testing.assert_allclose(on_grid(*reversed(rows)), expected)


@given(
    length_s=st.sampled_from([60, 600, 900, 1800, 3600]),
    late_s=st.integers(-10, 10).map(lambda number: number * 450),
    values=st.lists(st.none() | st.integers(-1000, 1000), min_size=1, max_size=60),
)
def test_what_is_even_is_laid_as_all_else_is(length_s, late_s, values):
    rows = [(late_s + place * length_s, length_s, value) for place, value in enumerate(values) if value is not None]
    far = (-86_400, 7, 1.0)  # of another length, and before the grid
    alone, beside = ([load_profile.Layer(loaded(*some), False, Rank.REGISTER)] for some in (rows, [far, *rows]))
    first, second = (load_profile.laid(layers, START, 3, HALF_S) for layers in (alone, beside))
    np.testing.assert_array_equal(first.energy_wh, second.energy_wh)
    np.testing.assert_array_equal(first.ranks, second.ranks)


def test_mean_powers_become_energies():
    np.testing.assert_allclose(on_grid((0, 900, 100), (900, 2700, 300), is_power=True, cells=2), [100, 150])


async def energy(world, ven, hours=1):
    async with world.db.read() as conn:
        return (await load_profile.energy(conn, ven.ven_id, START, START + 3600 * hours, HALF_S)).energy_wh


async def test_a_vens_energy_is_the_sum_of_its_resources(world):
    ven = await world.ven()
    (wish,) = await ven.offer(usage("a", "b"))
    half = Duration.of(minutes=30)
    await ven.report(
        data(wish, NOON, 1.0, 2.0, step=half, r_id="a"),
        data(wish, NOON, 10.0, step=half, r_id="b"),
    )
    np.testing.assert_allclose(await energy(world, ven), [11, NAN])


async def test_energies_go_before_powers_of_the_same_resource(world):
    ven = await world.ven()
    both = (usage("m"), usage("m", specifier="p", item_base=POWER_REAL_W))
    asked = {wish.specifier_id: wish for wish in await ven.offer(*both)}
    hour = Duration.of(hours=1)
    await ven.report(data(asked["p"], NOON, 500.0, step=hour, r_id="m", specifier="p"))
    np.testing.assert_allclose(await energy(world, ven), [250, 250])
    await ven.report(data(asked["usage"], NOON, 300.0, step=hour, r_id="m"))
    np.testing.assert_allclose(await energy(world, ven), [150, 150])


async def test_history_and_telemetry_of_the_same_meter_are_one_series(any_world):
    world = any_world
    ven = await world.ven()
    (live,) = await ven.offer(usage("m"))
    half = Duration.of(minutes=30)
    world.later(hours=1)
    await ven.report(data(live, NOON, *[2.0] * 30, r_id="m"))
    await ven.report(data(live, NOON, 60.0, 7.0, step=half, r_id="m"))
    np.testing.assert_allclose(await energy(world, ven), [60, 7])


async def test_a_ven_without_readings_has_no_energy(world):
    ven = await world.ven()
    assert np.isnan(await energy(world, ven)).all()


QUARTER = Duration.of(minutes=15)
HOME_WH = [150.0, 150.0, 140.0, 160.0, 150.0, 150.0, 150.0, 150.0]
"""What a home used in eight quarters of an hour, the first four together 600 Wh."""
SHAPES = {
    "sums": (ENERGY_REAL_WH, "Direct Read", QUARTER, HOME_WH),
    "means": (POWER_REAL_W, "Direct Read", QUARTER, [4 * one for one in HOME_WH]),
    "means that say so": (POWER_REAL_W, "Mean", QUARTER, [4 * one for one in HOME_WH]),
    "powers of moments": (POWER_REAL_W, "Direct Read", None, [600.0] * 9),
    "powers of instants": (POWER_REAL_W, "Direct Read", Duration(), [600.0] * 9),
    "a register": (ENERGY_REAL_WH, "Direct Read", None, np.cumsum([71_000.0, *HOME_WH]).tolist()),
    "a register of several meters": (ENERGY_REAL_WH, "Summed", None, np.cumsum([71_000.0, *HOME_WH]).tolist()),
    "a register that stands still": (ENERGY_REAL_WH, "Net", Duration(), np.cumsum([0.0, *HOME_WH]).tolist()),
    "energies with a start alone": (ENERGY_REAL_WH, "Direct Read", None, HOME_WH),
}


@pytest.mark.parametrize(("base", "reading_type", "lasts", "values"), SHAPES.values(), ids=SHAPES)
async def test_every_shape_of_telemetry_is_settled(any_world, base, reading_type, lasts, values):
    """With a start alone is how openleadr's VEN sends (`ReportInterval(dtstart, payload)`)."""
    ven = await any_world.ven()
    rate = SamplingRate(MINUTE, QUARTER)
    line = ReportDescription("m", "usage", reading_type, Target(resource_ids=("m",)), item_base=base, sampling=rate)
    (wish,) = await ven.offer(ReportOffer("usage", "TELEMETRY_USAGE", QUARTER, (line,), NOON))
    edges = [NOON + n * timedelta(minutes=15) for n in range(len(values))]
    rows = tuple(ReportInterval((ReportPayload("m", v),), at, lasts) for at, v in zip(edges, values, strict=True))
    any_world.later(hours=3)
    answer = await ven.report(Report(wish.request_id, "usage", "TELEMETRY_USAGE", NOON, rows, NOON))
    assert answer.response.code == 200
    found = await energy(any_world, ven, hours=2)
    np.testing.assert_allclose(found[:2].sum(), 600)
    np.testing.assert_allclose(found[2:].sum(), 600)


def test_powers_of_moments_far_apart_say_nothing_of_the_time_between():
    key = SeriesKey("v", "m", Quantity.POWER_REAL, Kind.INSTANT)
    points = loaded(*[(60 * n, 0, 600.0) for n in range(31)], (3600, 0, 600.0), (3660, 0, 600.0))
    means = load_profile.amounts(points, key, 43_470)
    grid = load_profile.on_grid(means, START, 3, HALF_S, is_power=True)
    np.testing.assert_allclose(grid, [300, NAN, NAN])
    too_much = loaded((0, 0, 600.0), (1800, 0, 1e6), (3600, 0, 600.0))
    assert load_profile.amounts(too_much, key, 43_470).durations_s.tolist() == [3600], (
        "what no home can draw is no point"
    )


def test_a_register_is_no_sum_for_a_reset_or_a_tremble():
    key = SeriesKey("v", "m", Quantity.ENERGY_REAL, Kind.REGISTER)
    reset = loaded(
        *[(900 * n, 0, 9000.0 + 100 * n) for n in range(4)], *[(3600 + 900 * n, 0, 100.0 * n) for n in range(4)]
    )
    assert load_profile.amounts(reset, key, 43_470).values.tolist()[:3] == [100, 100, 100]
    still = loaded(*[(900 * n, 0, 71_000.0 - n % 2) for n in range(8)])
    assert load_profile.amounts(still, key, 43_470).values.max() <= 1


def _part(number, resource):
    sources = Target(resource_ids=(resource,))
    names = (f"r{number}", USAGE, DIRECT_READ, sources, EVERYTHING)
    point = DataPoint(digest(*names), *names, Flow.IMPORT, Phase.TOTAL)
    return Part(SeriesKey("v", resource, Quantity.ENERGY_REAL, Kind.SUM, "x", point), (number,))


def _steps(step_s, span_s=7200):
    count = span_s // step_s
    return Loaded(np.arange(count) * step_s, np.full(count, step_s), np.ones(count), np.full(count, Quality.GOOD.value))


def test_long_readings_of_one_meter_are_seen_beside_short_ones_of_another():
    a, b = _part(1, "a"), _part(2, "b")
    hours = [[0, 3600], [3600, 7200]]
    assert load_profile._long(Basis((b,)), {2: _steps(3600)}, 0, 8, 900).tolist() == hours
    assert load_profile._long(Basis((a, b)), {1: _steps(900), 2: _steps(3600)}, 0, 8, 900).tolist() == hours
    both = Loaded(*(np.concatenate([getattr(_steps(900, 3600), name), getattr(_steps(3600), name)]) for name in FIELDS))
    assert load_profile._long(Basis((a,)), {1: both}, 0, 8, 900).tolist() == [[3600, 7200]], "quarters cover the first"


def test_many_readings_are_looked_through_at_once():
    """Two days of ten seconds, and more long readings than can follow each other: neither takes a walk through all."""
    day_s = 86_400
    assert load_profile._long(Basis((_part(1, "a"),)), {1: _steps(10, 2 * day_s)}, 0, 192, 900).tolist() == []
    count = 5000
    odd = Loaded(np.arange(count), 1000 + np.arange(count), np.ones(count), np.full(count, Quality.GOOD.value))
    assert load_profile._long(Basis((_part(1, "a"),)), {1: odd}, 0, 192, 900).tolist() == []


async def test_a_profile_may_begin_within_a_reading(any_world):
    ven, _, wh = await metered_ven(any_world, 6, days=1)
    start = NOON - timedelta(hours=2)
    async with any_world.db.read() as conn:
        found = await load_profile.profile_of(conn, ven.ven_id, int(start.timestamp()) + 420, 4, 420)
    half, following = wh[start], wh[start + timedelta(minutes=30)]
    assert found.energy_wh == pytest.approx([half * 7 / 30] * 3 + [half * 2 / 30 + following * 5 / 30])
    assert found.ranks.tolist() == [Rank.REGISTER] * 4
