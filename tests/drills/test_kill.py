"""kill -9 of VTN, gateways and broker, at three instants each: nothing is lost and nothing is done twice.

An event runs in four homes once undisturbed. Then it runs again, each time with one process killed without warning and
started again as it was. Opts, commands, restores and switches must come out the same, each once; the energy of a gap
must come from the meter's register, as one interval that is marked as an estimate.

The instants are drawn from seeds. In each of the three families one of them lies between a commit and what follows it
(see `sabotage`); the product itself has no such switch.
"""

import json
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from drills.kill_drill import WINDOW, Interval, Kill, Outcome, plain, run

from support.broker import find_mosquitto
from support.once import once

pytestmark = pytest.mark.slow

_NEAR = 0.05
"""How far delivered energy may be from the undisturbed run's."""
_EXACT_WH = 2.0
"""A register's reading is exact; what is left is that the VTN counts times in whole seconds."""
_HOMES = 4

Undisturbed = Callable[[], Awaitable[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _real_broker() -> None:
    find_mosquitto()  # the embedded broker keeps nothing over a kill


@pytest.fixture
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Undisturbed:
    """Return what runs the event without a kill: once in a test session."""

    async def get() -> dict[str, Any]:
        with once(tmp_path_factory, worker_id, "undisturbed") as (directory, fresh):
            file = directory / "outcome.json"
            if fresh:
                outcome = await run(directory / "run", None)
                _check_undisturbed(outcome)
                file.write_text(json.dumps(plain(outcome)))
            return json.loads(file.read_text())

    return get


def _check_undisturbed(outcome: Outcome) -> None:
    """Check that the yardstick itself is straight."""
    *inside, outside = outcome.homes
    for home in inside:
        assert home.modifications == (0,)
        assert [opt[:2] for opt in home.opts] == [("createdEvent", "optIn")]
        assert [command.ends for command in home.commands] == [("confirmed", "restored")]
        assert home.switched == ("off", "on")
    assert [opt[:2] for opt in outside.opts] == [("createdEvent", "optOut")]
    assert (outside.commands, outside.switched) == ((), ())
    for ven, intervals in outcome.intervals.items():
        _check_energy(intervals)
        assert not outcome.estimated(ven)


def _check_energy(intervals: list[Interval]) -> None:
    for one in intervals:
        assert abs(one.energy_wh - one.true_wh) < _EXACT_WH, one


async def _drill(kill: Kill, directory: Path, undisturbed: Undisturbed) -> Outcome:
    """Run with the kill and compare with the undisturbed run."""
    outcome = await run(directory / "run", kill)
    expected = await undisturbed()
    assert outcome.kills == 1
    assert plain(outcome)["homes"] == expected["homes"]
    assert outcome.delivered_wh == pytest.approx(expected["wh"], rel=_NEAR)
    assert not outcome.outbox.keys() & {"pending", "sent"}
    for intervals in outcome.intervals.values():
        _check_energy(intervals)
    return outcome


def _during(seed: str, first: timedelta, last: timedelta) -> datetime:
    """Return a seeded time so long after the event's start."""
    return WINDOW.start + first + (last - first) * _dice(seed).random()


def _number(seed: str, most: int) -> int:
    return _dice(seed).randint(1, most)


def _dice(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  an instant, not a secret


def _minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


# -- the VTN: the gateways keep what it missed, so nothing is estimated

VTN = {
    "between the commit of an answer and its own": Kill(
        "vtn", point="vtn-stored-answers", within="vtn", number=_number("vtn 1", _HOMES)
    ),
    "between the commit of readings and its answer": Kill(
        "vtn",
        point="vtn-stored-readings",
        within="vtn",
        number=_number("vtn 2", _HOMES),
        not_before=_during("vtn 2", _minutes(5), _minutes(15)),
    ),
    "in the event": Kill("vtn", at=_during("vtn 3", _minutes(2), _minutes(28)), away=_minutes(5)),
}


@pytest.mark.parametrize("kill", VTN.values(), ids=VTN)
async def test_a_killed_vtn_loses_nothing(kill: Kill, tmp_path: Path, undisturbed: Undisturbed) -> None:
    outcome = await _drill(kill, tmp_path, undisturbed)

    assert not any(outcome.estimated(ven) for ven in outcome.intervals)


# -- the gateways: their meters went on counting

VEN = {
    "between the commit of an event and the answer to it": Kill(
        "vens-1", point="ven-stored-events", within="vens-1", number=_number("ven 1", _HOMES)
    ),
    "in the event, with devices held": Kill("vens-1", at=_during("ven 2", _minutes(4), _minutes(20))),
    "between the journal and the device, at a restore": Kill(
        "vens-1", point="ven-journalled-restore", within="vens-1", number=_number("ven 3", _HOMES - 1)
    ),
}


@pytest.mark.parametrize("kill", VEN.values(), ids=VEN)
async def test_killed_gateways_go_on_where_they_were(kill: Kill, tmp_path: Path, undisturbed: Undisturbed) -> None:
    outcome = await _drill(kill, tmp_path, undisturbed)

    for ven in outcome.intervals:
        (gap,) = outcome.estimated(ven)
        assert gap.end - gap.start > _minutes(1)


# -- the broker: houses and gateways come back to it by themselves

BROKER = {
    "between a command and the device's state": Kill(
        "broker",
        point="house-got-order",
        within="houses",
        number=_HOMES - 1,  # the last of them: the others' heaters are off, whose energy is compared
    ),
    "between the acknowledgement of a restore and its storage": Kill(
        "broker", point="ven-published-restore", within="vens-1", number=_number("broker 2", _HOMES - 1)
    ),
}


@pytest.mark.parametrize("kill", BROKER.values(), ids=BROKER)
async def test_a_killed_broker_loses_no_command(kill: Kill, tmp_path: Path, undisturbed: Undisturbed) -> None:
    outcome = await _drill(kill, tmp_path, undisturbed)

    assert all(len(outcome.estimated(ven)) <= 1 for ven in outcome.intervals)


async def test_a_broker_away_leaves_a_gap_that_the_registers_fill(tmp_path: Path, undisturbed: Undisturbed) -> None:
    # Longer than the five minutes that a house repeats, and over before the event ends.
    kill = Kill("broker", at=_during("broker 3", _minutes(2), _minutes(8)), away=_minutes(8))

    outcome = await _drill(kill, tmp_path, undisturbed)

    for ven in outcome.intervals:
        (gap,) = outcome.estimated(ven)
        assert gap.end - gap.start > _minutes(1)
