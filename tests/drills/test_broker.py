"""The demo's Mosquitto: what it holds for a gateway that is away outlives a kill."""

import asyncio
from pathlib import Path

import aiomqtt
import pytest

from evenload.demo import broker
from evenload.demo.processes import Stage, free_port
from support.broker import find_mosquitto
from support.waiting import until

pytestmark = pytest.mark.slow

_TOPIC, _PAYLOAD = "home/state", b"switched off at noon"
_DEADLINE_S = 20.0


def _client(access: broker.Access, name: str, *, clean: bool) -> aiomqtt.Client:
    password = access.password_file.read_text(encoding="ascii")
    return aiomqtt.Client(
        access.host, access.port, username=access.username, password=password, identifier=name, clean_session=clean
    )


async def _listens(stage: Stage, access: broker.Access) -> None:
    async with asyncio.timeout(_DEADLINE_S):
        while True:
            stage.check()
            try:
                async with _client(access, "probe", clean=True):
                    return
            except aiomqtt.MqttError:
                await asyncio.sleep(0.05)


async def test_what_waits_for_an_absent_gateway_outlives_a_kill(tmp_path: Path) -> None:
    find_mosquitto()
    access = broker.prepare(tmp_path / "broker", free_port())
    stage = Stage(tmp_path)
    try:
        await stage.start("broker", "evenload.demo.broker", str(tmp_path / "broker"), str(access.port))
        await _listens(stage, access)
        async with _client(access, "gateway", clean=False) as gateway:
            await gateway.subscribe(_TOPIC, qos=1)
        async with _client(access, "house", clean=True) as house:
            await house.publish(_TOPIC, _PAYLOAD, qos=1)
        stored = tmp_path / "broker" / "mosquitto.db"
        await until(lambda: stored.exists() and _PAYLOAD in stored.read_bytes(), "the message on disk")
        await stage.kill("broker")
        await stage.restart("broker")
        await _listens(stage, access)

        async with asyncio.timeout(_DEADLINE_S), _client(access, "gateway", clean=False) as gateway:
            message = await anext(aiter(gateway.messages))

        assert (message.topic.value, message.payload) == (_TOPIC, _PAYLOAD)
    finally:
        await stage.stop()
