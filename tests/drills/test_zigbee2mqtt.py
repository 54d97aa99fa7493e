"""The real zigbee2mqtt: what it lists is found, switched and read, though its radio is none."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridges.connections import Connection, connect
from bridges.connections.mqtt_options import MqttOptions
from bridges.device import CapabilityKind, Contact, DeviceSpec, Driver, Observable, Value
from bridges.discovery.search import Sight, search
from bridges.drivers import TemplateModule
from bridges.template import Template
from core.clock import system_clock
from support.broker import mosquitto
from support.waiting import until
from support.zigbee2mqtt import DOUBLE, PLUG, Zigbee2Mqtt

pytestmark = pytest.mark.slow

STARTED = "Zigbee2MQTT started!"
SWITCH = CapabilityKind.SWITCH


@dataclass
class Watched:
    """A device of a template that was found, and what it says."""

    driver: Driver
    readings: dict[str, float] = field(default_factory=dict)
    contacts: list[Contact] = field(default_factory=list)


@pytest.fixture(scope="module")
def zigbee(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zigbee2Mqtt]:
    directory = tmp_path_factory.mktemp("zigbee2mqtt")
    with mosquitto(directory) as broker:
        running = Zigbee2Mqtt(directory, broker)
        running.prepare()
        running.start(STARTED)
        try:
            yield running
        finally:
            running.stop()


def connection(zigbee: Zigbee2Mqtt) -> Connection:
    return connect(MqttOptions(host=zigbee.broker.host, port=zigbee.broker.port, clean_session=True))


async def sights(zigbee: Zigbee2Mqtt) -> dict[str, Sight]:
    """Return what is found once zigbee2mqtt has announced and configured its devices."""
    for sign in (f"homeassistant/switch/{PLUG}", f"homeassistant/switch/{DOUBLE}", "Successfully configured 'kitchen"):
        await until(lambda sign=sign: sign in zigbee.log, sign, 60)
    result = await search(connection(zigbee), system_clock(), 5)
    return {sight.device.key: sight for sight in result.sights}


@asynccontextmanager
async def watched(zigbee: Zigbee2Mqtt, sight: Sight, directory: Path) -> AsyncIterator[Watched]:
    """Run the driver of a device that was found."""
    path = directory / f"{sight.driver}.yaml"
    path.write_text(sight.template or "", "utf-8")
    way = connection(zigbee)
    link = asyncio.create_task(way.run())
    driver = TemplateModule(Template(path)).create(DeviceSpec("plug", sight.driver, "", None, {}), way, system_clock())
    seen = Watched(driver)
    assert isinstance(driver, Observable)
    driver.observe(seen.contacts.append)
    await driver.start(
        lambda reading: seen.readings.update({reading.point.removeprefix("plug."): reading.value}),
        lambda *_: None,
    )
    await until(lambda: way.connected, "the link")
    try:
        yield seen
    finally:
        await driver.stop()
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)


async def switch(zigbee: Zigbee2Mqtt, seen: Watched, value: Value, place: str) -> None:
    """Switch a relay, and wait until its radio was told and it says so itself."""
    told = f"radio: {place} {value}\n"
    before = zigbee.log.count(told)
    await seen.driver.apply(SWITCH, value, None)
    await until(lambda: zigbee.log.count(told) == before + 1, told)
    await until(lambda: seen.driver.state(SWITCH) == value, "the plug's own word")


async def test_its_devices_are_found_once_by_its_own_list(zigbee: Zigbee2Mqtt) -> None:
    found = await sights(zigbee)
    assert {key: (sight.device.name, sight.sets) for key, sight in found.items()} == {
        f"zigbee2mqtt:{PLUG}": ("kitchen/dishwasher", ("switch",)),
        f"zigbee2mqtt:{DOUBLE}": ("cellar", ("switch",)),
        f"zigbee2mqtt:{DOUBLE}/state_2": ("cellar 2", ("switch",)),
    }
    plug = found[f"zigbee2mqtt:{PLUG}"]
    assert (plug.device.maker, plug.device.model, plug.device.role) == ("Innr", "SP 240", "plug")
    assert {"power", "energy", "voltage", "current"} <= set(plug.reads)


async def test_a_plug_is_switched_and_read(zigbee: Zigbee2Mqtt, tmp_path: Path) -> None:
    plug = (await sights(zigbee))[f"zigbee2mqtt:{PLUG}"]
    async with watched(zigbee, plug, tmp_path) as seen:
        await switch(zigbee, seen, "off", f"{PLUG}/1")
        await until(lambda: seen.readings.get("power") == 0, "its power")
        await switch(zigbee, seen, "on", f"{PLUG}/1")
        await until(lambda: seen.readings.get("power") == 1200, "its power")
        assert seen.readings["energy"] == pytest.approx(123_460)  # Wh; it says kWh, with two digits


async def test_each_relay_of_a_device_is_switched_alone(zigbee: Zigbee2Mqtt, tmp_path: Path) -> None:
    second = (await sights(zigbee))[f"zigbee2mqtt:{DOUBLE}/state_2"]
    async with watched(zigbee, second, tmp_path) as seen:
        await switch(zigbee, seen, "off", f"{DOUBLE}/2")
        await switch(zigbee, seen, "on", f"{DOUBLE}/2")
    assert f"radio: {DOUBLE}/1 " not in zigbee.log


async def test_its_own_start_counts_as_that_of_its_devices(zigbee: Zigbee2Mqtt, tmp_path: Path) -> None:
    plug = (await sights(zigbee))[f"zigbee2mqtt:{PLUG}"]
    async with watched(zigbee, plug, tmp_path) as seen:
        await switch(zigbee, seen, "off", f"{PLUG}/1")
        await asyncio.to_thread(zigbee.stop)
        await until(lambda: not seen.driver.online, "its absence")
        await asyncio.to_thread(zigbee.start, STARTED)
        await until(lambda: Contact.RESTARTED in seen.contacts, "its start", 60)
        await switch(zigbee, seen, "on", f"{PLUG}/1")
