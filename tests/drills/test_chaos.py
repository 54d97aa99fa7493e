"""Twenty of the seeded runs in which much goes wrong at once; docs/explanation/leases.md says how more ended."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from drills import chaos
from drills.templated_homes import KINDS, witness_of

from core.clock import ManualClock
from core.points import Reading
from evenload.demo.households import household_dir
from evenload.demo.model import make_home
from support.broker import find_mosquitto
from ven.readings_store import Ring
from ven.state_files import STORE_FILE
from ven.store import Store

pytestmark = pytest.mark.slow

_SEEDS = range(20)


@pytest.fixture(autouse=True)
def _real_world() -> None:
    find_mosquitto()
    try:
        chaos.faketime()
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.mark.parametrize("seed", _SEEDS)
def test_every_device_is_as_it_was_before_the_event(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    outcome = chaos.play(seed, tmp_path_factory.mktemp("chaos"))

    assert outcome.back, outcome
    assert outcome.restarts == 0, outcome
    assert outcome.lost == [], outcome


def test_the_seeds_bring_every_trouble_and_every_home() -> None:
    scripts = [chaos.write_script(seed) for seed in _SEEDS]
    troubles = [trouble for script in scripts for trouble in script.troubles]

    assert {trouble.kind for trouble in troubles} == set(chaos.TROUBLES)
    assert {kind for script in scripts for kind in script.kinds} == set(KINDS)
    assert {script.kinds for script in scripts} == set(chaos.HOMES)
    cuts = [trouble.begin for trouble in troubles if trouble.kind == "power-cut"]
    assert len(set(cuts)) == len(_SEEDS), "a power cut in each, at an instant of its own"
    assert all(timedelta() < begin < chaos.EVENT for begin in cuts)


def test_a_reading_that_is_lost_or_that_no_meter_said_is_noticed(tmp_path: Path) -> None:
    start, home = datetime(2026, 3, 2, 17, 1, tzinfo=UTC), make_home(1, 1)
    times = [start + timedelta(minutes=n) for n in range(4)]
    lines = [[what, at.isoformat(), 100.0 + n] for n, at in enumerate(times) for what in ("published", "confirmed")]
    witness_of(home, tmp_path).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    state = household_dir(home, tmp_path) / "state"
    state.mkdir(parents=True)
    store = Store(state / STORE_FILE)
    ring = Ring(store, 1000)
    cut = chaos.Trouble("power-cut", timedelta(minutes=60), timedelta(minutes=1))
    script = chaos.Script(0, ("tasmota",), (cut,), (True,), "on")
    clock = ManualClock(start + timedelta(hours=1))
    world = SimpleNamespace(
        homes=[home], scene=SimpleNamespace(clock=clock), stage=SimpleNamespace(directory=tmp_path), script=script
    )
    ring.add(Reading("meter.energy", at, 100.0 + n) for n, at in enumerate(times) if n != 2)
    assert chaos._misses(world, start) == (4, ["home-01 lost 17:03"])
    ring.add([Reading("meter.energy", times[2], 102.0), Reading("meter.energy", start + timedelta(seconds=7), 100.0)])
    (count, (doubled,)) = chaos._misses(world, start)
    assert (count, doubled) == (4, "home-01 has 100.000 at 17:01:07, published None")
    store.close()
