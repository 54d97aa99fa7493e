"""TwinERGY D8.1, chapter 5.5: the integration test cases ITC1.01 to ITC9.01 and IT10.01, by name.

HEMS is the gateway with its store, CDMP whoever takes the gateway's copies (northbound). Most cases ask that "data is
correctly updated in the operational database"; ITC6.01 to IT10.01 that "per each cycle of measuring" the receiver has
what the meter's register says. They are suspended where "values received are incorrect or none value is received", and
the others where messages do not reach their destination: every case plays that, too, and has to notice it.

Integration 3 (ITC1.02, 4.02, 5.02, 6.02) ends in a blockchain. No chain's client is in scope: what is tested is that
an append-only ledger, each entry of which holds the hash of the one before, gets every value once.

What the cases do over field buses (OCPP, SunSpec, Modbus, DLMS, M-Bus) comes with those.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.broker import Broker, mosquitto
from support.itc_home import (
    Asset,
    Client,
    Home,
    Key,
    Sink,
    Verdict,
    client,
    copy,
    play,
    sink,
    together,
    verdict,
)
from support.waiting import until

from .assets import (
    CHARGING_POINT,
    COMMUNITY_BATTERY,
    ENVIRONMENT,
    HOME_BATTERY,
    INVERTER,
    PLUG,
    PLUGS,
    SMART_METERS,
    TEMPLATES,
    TRANSFORMER,
    WRISTBAND,
)

Make = Callable[..., Home]
CYCLES = range(4)
STEP = timedelta(seconds=10)
MILLISECONDS = pytest.mark.parametrize("milliseconds", [250, 10_000])
"""D8.1 leaves open how long a cycle is ("each X milliseconds")."""


def named(asset: Asset) -> str:
    return asset.driver


# -- what every case plays


async def reaches_the_hems(make: Make, broker: Broker, asset: Asset, step: timedelta = STEP) -> None:
    """Every cycle is in the store as the register had it, and nothing else is; so it is after a restart."""
    home = make(asset, templates=TEMPLATES)
    with client(broker) as device:
        async with home.gateway():
            registers = await play(home, asset, device, CYCLES, step)
            assert [verdict(register, home.stored()) for register in registers] == [Verdict.PASSED] * len(registers)
            assert home.stored() == together(registers)
        async with home.gateway():
            registers += await play(home, asset, device, range(4, 6), step)
        assert home.stored() == together(registers)


async def reaches_the_cdmp(make: Make, broker: Broker, asset: Asset, step: timedelta = STEP) -> None:
    """Every cycle is at the platform as the register had it, once by point and time, and equals the store."""
    name = "cdmp/" + asset.driver
    home = make(asset, templates=TEMPLATES, copies=[copy(name)])
    with client(broker) as device, sink(broker, name) as cdmp:
        async with home.gateway():
            registers = await play(home, asset, device, CYCLES, step, cdmp.received)
        assert [verdict(register, cdmp.received()) for register in registers] == [Verdict.PASSED] * len(registers)
        assert cdmp.received() == home.stored() == together(registers)
        assert cdmp.twice() == []


NOTHING: tuple[object, ...] = ("NaN", "", "unavailable", "{}", b"\xff\xfe", '{"value": null}', "1e999", "[[[")
"""What a broken meter says: no value at all."""


async def none_is_noticed(make: Make, broker: Broker, asset: Asset) -> None:
    """A cycle of which nothing arrives, or nothing that is a value, leaves no value; the next one passes."""
    name = f"none/{asset.driver}"
    home = make(asset, name="-none", templates=TEMPLATES, copies=[copy(name)])
    with client(broker) as device, sink(broker, name) as cdmp:
        async with home.gateway():
            lost = asset.register(0, home.clock.now())
            for topic, _ in asset.messages(0, home.clock.now()):
                for payload in NOTHING:
                    device.say(topic, payload)
            device.say("elsewhere/altogether", "1.0")
            home.clock.advance(STEP)
            (good,) = await play(home, asset, device, range(1, 2), STEP, cdmp.received)
            assert verdict(lost, home.stored()) is Verdict.NONE
            assert verdict(good, home.stored()) is Verdict.PASSED
            assert home.stored() == cdmp.received() == good


async def incorrect_is_noticed(make: Make, broker: Broker, asset: Asset) -> None:
    """Values that were changed on their way are not taken for the register's."""
    home = make(asset, name="-incorrect", templates=TEMPLATES)
    with client(broker) as device:
        async with home.gateway():
            at = home.clock.now()
            for topic, payload in asset.messages(1, at):  # the register is at 0
                device.say(topic, payload)
            register = asset.register(0, at)
            await until(lambda: register.keys() <= home.stored().keys(), "the values")
            assert verdict(register, home.stored()) is Verdict.INCORRECT


async def both_suspensions(make: Make, broker: Broker, asset: Asset) -> None:
    await none_is_noticed(make, broker, asset)
    await incorrect_is_noticed(make, broker, asset)


# -- smart meters


@pytest.mark.parametrize("asset", SMART_METERS, ids=named)
async def test_itc1_01_smart_meter_to_the_hems(home: Make, broker: Broker, asset: Asset) -> None:
    await reaches_the_hems(home, broker, asset)


async def test_itc1_01_is_suspended_where_messages_do_not_arrive(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, SMART_METERS[0])


class Ledger(Sink):
    """An append-only list, each entry of which holds the hash of the one before; what is there already is refused."""

    def entries(self) -> list[dict[str, Any]]:
        chain: list[dict[str, Any]] = []
        seen: set[Key] = set()
        for key, value in self.rows():
            if key not in seen:
                seen.add(key)
                before = chain[-1]["hash"] if chain else ""
                body = {"point": key[0], "at": key[1].isoformat(), "value": value, "before": before}
                chain.append(body | {"hash": _digest(body)})
        return chain


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def holds(chain: list[dict[str, Any]]) -> bool:
    """Tell whether nothing in a ledger was changed, moved or taken out since it was written."""
    before = ""
    for entry in chain:
        body = {name: value for name, value in entry.items() if name != "hash"}
        if body["before"] != before or _digest(body) != entry["hash"]:
            return False
        before = entry["hash"]
    return True


async def reaches_the_ledger(make: Make, broker: Broker, asset: Asset) -> None:
    """Every value is in the ledger once, in the order in which it was measured, and what is written stays."""
    name = f"ledger/{asset.driver}"
    home = make(asset, templates=TEMPLATES, copies=[copy(name)])
    ledger = Ledger(broker, f"{name}/#")
    try:
        with client(broker) as device:
            async with home.gateway():
                registers = await play(home, asset, device, CYCLES, STEP, ledger.received)
    finally:
        ledger.close()
    chain = ledger.entries()
    there = {(entry["point"], entry["at"]): entry["value"] for entry in chain}
    assert there == {(point, at.isoformat()): value for (point, at), value in together(registers).items()}
    assert [entry["at"] for entry in chain] == sorted(entry["at"] for entry in chain)
    assert holds(chain)
    assert not holds([chain[0] | {"value": chain[0]["value"] + 1}, *chain[1:]])
    assert not holds(chain[1:])


async def test_itc1_02_smart_meter_to_the_ledger(home: Make, broker: Broker) -> None:
    await reaches_the_ledger(home, broker, SMART_METERS[0])


# -- charging points, batteries, assets


async def test_itc2_01_charging_point_to_the_cdmp(home: Make, broker: Broker) -> None:
    await reaches_the_cdmp(home, broker, CHARGING_POINT)


async def test_itc2_01_is_suspended_where_messages_do_not_arrive(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, CHARGING_POINT)


async def test_itc3_01_community_battery_to_the_cdmp(home: Make, broker: Broker) -> None:
    await reaches_the_cdmp(home, broker, COMMUNITY_BATTERY)


async def test_itc3_01_is_suspended_where_messages_do_not_arrive(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, COMMUNITY_BATTERY)


@pytest.mark.parametrize("asset", PLUGS, ids=named)
async def test_itc4_01_energy_asset_to_the_hems(home: Make, broker: Broker, asset: Asset) -> None:
    await reaches_the_hems(home, broker, asset)


async def test_itc4_01_is_suspended_where_messages_do_not_arrive(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, PLUG)


async def test_itc4_02_energy_asset_to_the_ledger(home: Make, broker: Broker) -> None:
    await reaches_the_ledger(home, broker, PLUG)


async def test_itc5_01_environmental_sensor_to_the_hems(home: Make, broker: Broker) -> None:
    await reaches_the_hems(home, broker, ENVIRONMENT)


async def test_itc5_01_is_suspended_where_messages_do_not_arrive(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, ENVIRONMENT)


async def test_itc5_02_environmental_sensor_to_the_ledger(home: Make, broker: Broker) -> None:
    await reaches_the_ledger(home, broker, ENVIRONMENT)


# -- cases that compare every cycle


@MILLISECONDS
async def test_itc6_01_home_battery_to_the_hems(home: Make, broker: Broker, milliseconds: int) -> None:
    await reaches_the_hems(home, broker, HOME_BATTERY, timedelta(milliseconds=milliseconds))


async def test_itc6_01_is_suspended_by_incorrect_values_or_none(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, HOME_BATTERY)


async def test_itc6_02_home_battery_to_the_ledger(home: Make, broker: Broker) -> None:
    await reaches_the_ledger(home, broker, HOME_BATTERY)


@MILLISECONDS
async def test_itc7_01_inverter_to_the_cdmp(home: Make, broker: Broker, milliseconds: int) -> None:
    await reaches_the_cdmp(home, broker, INVERTER, timedelta(milliseconds=milliseconds))


async def test_itc7_01_is_suspended_by_incorrect_values_or_none(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, INVERTER)


@MILLISECONDS
async def test_itc8_01_transformer_to_the_cdmp(home: Make, broker: Broker, milliseconds: int) -> None:
    await reaches_the_cdmp(home, broker, TRANSFORMER, timedelta(milliseconds=milliseconds))


async def test_itc8_01_is_suspended_by_incorrect_values_or_none(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, TRANSFORMER)


@MILLISECONDS
async def test_itc9_01_physiological_sensor_to_the_hems(home: Make, broker: Broker, milliseconds: int) -> None:
    await reaches_the_hems(home, broker, WRISTBAND, timedelta(milliseconds=milliseconds))


async def test_itc9_01_is_suspended_by_incorrect_values_or_none(home: Make, broker: Broker) -> None:
    await both_suspensions(home, broker, WRISTBAND)


# -- the gateway to the platform


PLATFORM = {"battery": HOME_BATTERY, "band": WRISTBAND}
"""IT10.01 depends on ITC6.01 and ITC9.01: what those measure is passed on."""


def platform_copy(name: str) -> list[dict[str, object]]:
    return [copy(name) | {"points": ["battery.*", "band.*"]}]


def of(name: str, register: dict[Key, float]) -> dict[Key, float]:
    return {(point.replace("asset", name), at): value for (point, at), value in register.items()}


def measure(home: Home, device: Client, n: int) -> dict[Key, float]:
    """Let both assets measure once; return what their registers say, and let time pass."""
    at, register = home.clock.now(), {}
    for name, asset in PLATFORM.items():
        for topic, payload in asset.messages(n, at):
            device.say(topic, payload)
        register |= of(name, asset.register(n, at))
    return register


async def test_it10_01_hems_to_the_cdmp(home: Make, broker: Broker) -> None:
    """Per each cycle the platform has what the HEMS has."""
    place = home(PLATFORM, templates=TEMPLATES, copies=platform_copy("it10"))
    with client(broker) as device, sink(broker, "it10") as cdmp:
        async with place.gateway():
            for n in range(6):
                register = measure(place, device, n)
                await until(lambda: register.keys() <= cdmp.received().keys(), f"cycle {n}")  # noqa: B023  at once
                assert verdict(register, place.stored()) is Verdict.PASSED
                assert verdict(register, cdmp.received()) is Verdict.PASSED
                assert cdmp.received() == place.stored()
                place.clock.advance(STEP)
        assert cdmp.twice() == []


async def test_it10_01_what_was_measured_while_the_cdmp_was_away_comes_once_it_is_back(
    home: Make, broker: Broker, tmp_path: Path
) -> None:
    """The platform's broker is gone for some cycles, and the gateway restarts meanwhile: nothing is lost or doubled."""
    with mosquitto(tmp_path) as cloud:
        reached = {"kind": "mqtt", "host": cloud.host, "port": cloud.port, "client_id": "gateway"}
        copies = [each | {"connection": "cloud"} for each in platform_copy("it10")]
        place = home(PLATFORM, templates=TEMPLATES, copies=copies, connections={"cloud": reached})
        with client(broker) as device:
            with sink(cloud, "it10") as cdmp:
                async with place.gateway():
                    first = measure(place, device, 0)
                    await until(lambda: cdmp.received() == first, "the first cycle")
                    cloud.kill()
                    missed: dict[Key, float] = {}
                    for n in range(1, 4):
                        place.clock.advance(STEP)
                        register = measure(place, device, n)
                        missed |= register
                        await until(lambda: missed.items() <= place.stored().items(), "the store")  # noqa: B023  at once
                        assert verdict(register, cdmp.received()) is Verdict.NONE
                before = cdmp.received()
            cloud.start()
            with sink(cloud, "it10") as cdmp:
                async with place.gateway():
                    await until(lambda: missed.items() <= cdmp.received().items(), "the rest")
                assert cdmp.twice() == []
                assert before | cdmp.received() == place.stored() == first | missed


async def test_it10_01_is_suspended_by_incorrect_values_or_none(home: Make, broker: Broker) -> None:
    """A cycle of which the HEMS has nothing leaves the platform nothing; a value that is not the HEMS's is seen."""
    place = home(PLATFORM, templates=TEMPLATES, copies=platform_copy("it10-suspended"))
    with client(broker) as device, sink(broker, "it10-suspended") as cdmp:
        async with place.gateway():
            lost: dict[Key, float] = {}
            for name, asset in PLATFORM.items():
                lost |= of(name, asset.register(0, place.clock.now()))
                for topic, _ in asset.messages(0, place.clock.now()):
                    for payload in NOTHING:
                        device.say(topic, payload)
            place.clock.advance(STEP)
            good = measure(place, device, 1)
            await until(lambda: good.keys() <= cdmp.received().keys(), "the next cycle")
            assert (verdict(lost, cdmp.received()), verdict(good, cdmp.received())) == (Verdict.NONE, Verdict.PASSED)
            place.clock.advance(STEP)
            register = {key: value + 1 for key, value in measure(place, device, 2).items()}
            await until(lambda: register.keys() <= cdmp.received().keys(), "the last cycle")
            assert verdict(register, cdmp.received()) is Verdict.INCORRECT
            (point, when), value = next(iter(good.items()))
            body = {"v": value + 1, "u": "", "t": when.isoformat()}
            device.say(f"it10-suspended/{point.replace('.', '/')}", body)  # not by the gateway
            await until(lambda: len(cdmp.heard) > len(place.stored()), "the strange value")
            with pytest.raises(AssertionError, match="two values at one time"):
                cdmp.received()
    assert {key: place.stored()[key] for key in good} == good
