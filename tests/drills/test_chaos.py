"""Twenty of the seeded runs in which much goes wrong at once; docs/explanation/leases.md says how two hundred ended."""

import os

import pytest
from drills import chaos

from support.broker import find_mosquitto

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


def test_the_seeds_bring_every_trouble() -> None:
    kinds = {trouble.kind for seed in _SEEDS for trouble in chaos.write_script(seed).troubles}

    assert kinds == set(chaos.TROUBLES)
