"""A VEN's energy on an even grid: gaps, overlaps, resources (vtn.services.load_profile)."""

import numpy as np
import pytest

from core.spans import Duration
from openadr.model.units import POWER_REAL_W
from support.vtn_world import MINUTE, NOON, data, usage
from vtn.services import load_profile
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.readings import Loaded

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
    await ven.report(data(live, NOON, *[2.0] * 30, r_id="m"))
    await ven.report(data(live, NOON, 60.0, 7.0, step=half, r_id="m"))
    np.testing.assert_allclose(await energy(world, ven), [60, 7])


async def test_a_ven_without_readings_has_no_energy(world):
    ven = await world.ven()
    assert np.isnan(await energy(world, ven)).all()
