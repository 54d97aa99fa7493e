"""FLEXMETER D2.1 and D2.2: the meters' feeds with their last gasp (F10), and the model of messages (F11), by name.

F10 (D2.1, 3.2.1 and 3.3): electricity every ten seconds, heat every one to five minutes, a "last gasp" at an outage.
F11 (D2.2, 4 and 5.2): measurements as SiteWhere's JSON, single or in batches of ten-second values every three to five
minutes, which land once and in order; alerts; commands with acknowledgements. The meters' own protocols (IEC 62056-21,
M-Bus, CoAP) come with the field buses, and so do commands to meters: ours are read, never ordered.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from support.broker import Broker
from support.itc_home import Asset, Client, Home, Verdict, client, copy, play, sink, together, verdict
from support.waiting import until
from ven.status import read_status

from .assets import FLEXMETER, TRANSFORMER, alert, apartment, apartment_registers, sitewhere

Make = Callable[..., Home]
TEN_SECONDS = timedelta(seconds=10)
SINGLE, BATCH = "SiteWhere/input/json", "SiteWhere/input/jsonbatch"


def heat(name: str, **extra: tuple[str, float]) -> Asset:
    """Return a district heat meter; Malmö's and Turin's differ in one temperature (tables 6.1 and 6.2)."""

    def measurements(n: int) -> dict[str, float]:
        usual = {
            "heating.energy": 12.5 + n,
            "heating.power": 4.25,
            "heating.volume": 1500 + n,
            "heating.flowrate": 0.25,
        }
        return usual | {"heating.temp.primary.inlet": 82.5} | dict(extra.values())

    def registers(n: int) -> dict[str, float]:
        usual = {"heat": 12_500_000 + 1_000_000 * n, "heat_power": 4250, "volume": 1500 + n, "flow": 250}
        return usual | {"inlet": 82.5} | {point: value for point, (_, value) in extra.items()}

    return Asset(
        name, "flexmeter_heat", {"id": name}, lambda n, at: [(SINGLE, sitewhere(name, at, measurements(n)))], registers
    )


MALMO = heat("H-1", secondary_inlet=("heating.temp.secondary.inlet", 55.5))
TURIN = heat("H-2", outlet=("heating.temp.primary.outlet", 45.5))


# -- F10


@pytest.mark.parametrize(
    ("asset", "step"),
    [
        (FLEXMETER, TEN_SECONDS),
        (TRANSFORMER, TEN_SECONDS),
        (MALMO, timedelta(minutes=1)),
        (TURIN, timedelta(minutes=5)),
    ],
    ids=["apartment-10s", "substation-10s", "heat-1min", "heat-5min"],
)
async def test_f10_meter_feeds(home: Make, broker: Broker, asset: Asset, step: timedelta) -> None:
    """Each cycle of a feed is in the store as the meter had it, at the meter's own time, and nothing else is."""
    place = home(asset)
    with client(broker) as meter:
        async with place.gateway():
            registers = await play(place, asset, meter, range(6), step)
    assert [verdict(register, place.stored()) for register in registers] == [Verdict.PASSED] * 6
    assert place.stored() == together(registers)


def reachable(place: Home) -> object:
    (device,) = read_status(place.household)["devices"]
    return device["reachable"]


@pytest.mark.parametrize("asset", [FLEXMETER, TRANSFORMER], ids=["apartment", "substation"])
async def test_f10_last_gasp(home: Make, broker: Broker, asset: Asset) -> None:
    """A last gasp is seen: `ven status` says that the meter is away, and its VTN gets that its resource is offline."""
    resources = [{"id": "flat", "meter": "asset", "devices": []}]
    place = home(asset, resources=resources)
    hardware_id = str(asset.options["id"])
    with client(broker) as meter:
        async with place.gateway():
            await play(place, asset, meter, range(2), TEN_SECONDS)
            await until(lambda: reachable(place) is True, "the meter in the status")
            place.clock.advance(timedelta(minutes=5))  # by then it is said again, whatever it was at the start
            await until(lambda: place.status("online") == 1.0, "the resource's status")
            meter.say(SINGLE, alert("M-other", place.clock.now(), "power.failure"))  # a neighbour's
            meter.say(SINGLE, alert(hardware_id, place.clock.now(), "cover.removed"))
            place.clock.advance(TEN_SECONDS)
            meter.say(SINGLE, alert(hardware_id, place.clock.now(), "power.failure"))
            await until(lambda: reachable(place) is False, "the outage in the status")
            await until(lambda: place.status("online") == 0.0, "the resource's status")
            place.clock.advance(TEN_SECONDS)
            await play(place, asset, meter, range(2, 3), TEN_SECONDS)
            await until(lambda: reachable(place) is True, "the meter after the outage")
            await until(lambda: place.status("online") == 1.0, "the resource's status")


# -- F11


def batch_asset() -> Asset:
    return Asset("E350, batches", "flexmeter_batch", {"id": "M-1042"}, lambda _, __: [], apartment_registers)


def batch(times: list[tuple[int, datetime]], hardware_id: str = "M-1042") -> dict[str, Any]:
    """Return SiteWhere's DeviceEventBatch with a measurement for each (n, time)."""
    rows = [{"measurements": apartment(n), "eventDate": at.isoformat()} for n, at in times]
    return {"hardwareId": hardware_id, "measurements": rows, "locations": [], "alerts": []}


def five_minutes(place: Home, first: int) -> list[tuple[int, datetime]]:
    """Return the numbers and times of thirty values of ten seconds, which end now."""
    now = place.clock.now()
    return [(first + n, now - (29 - n) * TEN_SECONDS) for n in range(30)]


async def test_f11_single_measurements(home: Make, broker: Broker) -> None:
    """The values of one message land together, at its eventDate; one that comes twice lands once."""
    place = home(FLEXMETER)
    with client(broker) as meter:
        async with place.gateway():
            (register,) = await play(place, FLEXMETER, meter, range(1), TEN_SECONDS)
            for topic, payload in FLEXMETER.messages(0, place.clock.now() - TEN_SECONDS):
                meter.say(topic, payload)
            registers = await play(place, FLEXMETER, meter, range(1, 2), TEN_SECONDS)
    assert place.stored() == together([register, *registers])


async def test_f11_batches_land_once_and_in_order(home: Make, broker: Broker) -> None:
    """Batches of thirty values, one of them sent twice: the platform gets each value once."""
    asset, name = batch_asset(), "f11/batch"
    place = home(asset, copies=[copy(name) | {"points": ["asset.energy"]}])
    expected = {}
    with client(broker) as meter, sink(broker, name) as cloud:
        async with place.gateway():
            for first in (0, 30, 60):
                values = five_minutes(place, first)
                meter.say(BATCH, batch(values))
                meter.say(BATCH, batch(values, "M-other"))
                if first == 30:
                    meter.say(BATCH, batch(values))
                expected |= together([asset.register(n, at) for n, at in values])
                await until(lambda: len(cloud.received()) == first + 30, "the batch")  # noqa: B023  at once
                place.clock.advance(timedelta(minutes=5))
    assert place.stored() == expected
    assert cloud.received() == place.stored("asset.energy")
    assert cloud.twice() == []
    times = [at for (_, at), _ in cloud.rows()]
    assert times == sorted(times)
    assert len(times) == 90


async def test_f11_batches_of_an_outage_of_the_gateway_wait_at_the_broker(home: Make, broker: Broker) -> None:
    """What meters upload while the gateway is away is in the store after its start, once, at the meters' times."""
    asset = batch_asset()
    place = home(asset)
    expected = {}
    with client(broker) as meter:
        async with place.gateway():
            pass  # the broker knows its session from now on
        for first in (0, 30, 60):
            times = five_minutes(place, first)
            meter.say(BATCH, batch(times))
            expected |= together([asset.register(n, at) for n, at in times])
            place.clock.advance(timedelta(minutes=5))
        async with place.gateway():
            await until(lambda: len(place.stored()) >= len(expected), "what waited")
    assert place.stored() == expected


async def test_f11_suspended_where_a_batch_is_no_batch(home: Make, broker: Broker) -> None:
    """Wrong rows of a batch cost themselves, a wrong batch itself; neither becomes a value."""
    asset = batch_asset()
    place = home(asset)
    with client(broker) as meter:
        async with place.gateway():
            now = place.clock.now()
            for rubbish in ("", "NaN", "[]", "{}", '{"hardwareId":"M-1042","measurements":7}', b"\xff\xfe"):
                meter.say(BATCH, rubbish)
            good = [(0, now - TEN_SECONDS), (1, now)]
            wrong = batch(good)
            wrong["measurements"].insert(1, {"measurements": apartment(5), "eventDate": "yesterday"})
            wrong["measurements"].insert(1, {"measurements": {"electricity.frequency": "NaN"}, "eventDate": "x"})
            wrong["measurements"].insert(0, None)
            meter.say(BATCH, wrong)
            expected = together([asset.register(n, at) for n, at in good])
            await until(lambda: expected.keys() <= place.stored().keys(), "the good rows")
    assert place.stored() == expected


async def test_f11_what_we_write_northbound_is_what_flexmeter_reads(home: Make, broker: Broker) -> None:
    """Adapter and wrapper (D2.2, 4): our copies as SiteWhere's batches, read by a second gateway, are the same."""
    names = {
        "asset.energy": "electricity.energy.active.consumed.total",
        "asset.export_energy": "electricity.energy.active.injected.total",
        **{f"asset.power_l{n}": f"electricity.power.active.consumed.l{n}" for n in (1, 2, 3)},
        **{f"asset.voltage_l{n}": f"electricity.voltage.rms.l{n}" for n in (1, 2, 3)},
    }
    wire = {"format": "sitewhere", "batch": 240, "hardware_id": "HOME-7", "names": names, "topic": "f11/out/jsonbatch"}
    meters = home(batch_asset(), copies=[{"id": "cloud", "points": ["asset.*"], **wire}])
    reads = {"id": "HOME-7", "topic": "f11/out/jsonbatch", "energy_unit": "Wh"}
    cloud = home(Asset("cloud", "flexmeter_batch", reads, lambda _, __: [], apartment_registers), name="-cloud")
    with client(broker) as meter, client(broker, "f11/out/#") as between:
        async with cloud.gateway(), meters.gateway():
            times = five_minutes(meters, 0)
            meter.say(BATCH, batch(times))
            await until(lambda: len(cloud.stored()) >= 8 * len(times), "the values in the cloud")
    assert cloud.stored() == meters.stored() != {}
    assert {tuple(sorted(json.loads(payload))) for _, payload in between.heard} == {("hardwareId", "measurements")}


async def test_f11_alerts_are_no_measurements(home: Make, broker: Broker) -> None:
    """Of the alerts only the last gasp says something to us (F10); none becomes a value, and none spoils the next."""
    place = home(FLEXMETER)
    with client(broker) as meter:
        async with place.gateway():
            for kind in ("l1.phase.fail", "tamper.detect", "magnetic.dc.field.detected", "ram.faliure"):
                _say_alert(meter, place, kind)
            registers = await play(place, FLEXMETER, meter, range(1), TEN_SECONDS)
    assert place.stored() == together(registers)


def _say_alert(meter: Client, place: Home, kind: str) -> None:
    meter.say(SINGLE, alert("M-1042", place.clock.now(), kind, "Warning"))
