"""Our VEN against openleadr's VTN: separate processes, mutual TLS, a real meter behind a real broker.

What openleadr's VTN cannot do decides the set-up: it reads one value per interval (`one_value_per_interval`), fails on
status reports (it asks for none) and has no EiOpt (the later opt-out is another oadrCreatedEvent).
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from certs.authority import Authority
from certs.provisioning import Identity, new_key_and_request, store_bundle
from evenload.demo.processes import Stage, free_port
from support.broker import Broker, mosquitto
from support.peer import Peer, peer

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("openleadr_vtn.py")
_VTN_ID = "OPENLEADR"
_NAME = "home-01"
_POWER_W = 3600.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca", "interop")


@pytest.fixture
def identity(tmp_path: Path, authority: Authority) -> tuple[Identity, int]:
    """Return who our VEN is, and the port where its VTN will listen."""
    port = free_port()
    issued = authority.sign_request(new_key_and_request(tmp_path / "identity", _NAME), "ven-1")
    bundle = {
        "ven_id": "ven-1",
        "ven_name": _NAME,
        "vtn_id": _VTN_ID,
        "vtn_url": f"https://localhost:{port}/OpenADR2/Simple/2.0b",
        "certificate": issued.chain_pem,
        "ca": authority.ca_pem,
        "fingerprint": issued.record.fingerprint,
    }
    return store_bundle(tmp_path / "identity", bundle), port


@pytest.fixture(params=[False, True], ids=["plain", "signed"])
def signed(request: pytest.FixtureRequest) -> bool:
    """Whether both sides sign everything, and insist on it."""
    return bool(request.param)


@pytest.fixture
async def vtn(
    tmp_path: Path, authority: Authority, identity: tuple[Identity, int], *, signed: bool
) -> AsyncIterator[Peer]:
    ven, port = identity
    issued = authority.issue_server(["localhost"])
    (tmp_path / "vtn.pem").write_text(issued.chain_pem)
    (tmp_path / "vtn.key").write_text(issued.key_pem or "")
    config = {
        "vtn_id": _VTN_ID,
        "port": port,
        "cert": str(tmp_path / "vtn.pem"),
        "key": str(tmp_path / "vtn.key"),
        "ca": str(ven.ca_path),
        "ven_id": ven.ven_id,
        "ven_name": _NAME,
        "fingerprint": ven.fingerprint,
        "signed": signed,
    }
    async with peer(_SCRIPT, tmp_path / "vtn.log", **config) as one:
        await one.heard("serving")
        yield one


@asynccontextmanager
async def _meter(broker: Broker) -> AsyncIterator[None]:
    """Publish a register that counts a constant power, five times a second."""
    done = (
        asyncio.Event()
    )  # a cancellation can get lost: `asyncio.wait_for`, in aiomqtt, swallows one before Python 3.12

    async def publish() -> None:
        async with aiomqtt.Client(broker.host, broker.port) as client:
            while not done.is_set():
                now_s = time.time()
                record = {"bn": "meter", "t": now_s, "n": "energy", "u": "Wh", "v": now_s % 1e6 * _POWER_W / 3600}
                await client.publish("meter/m1/measurement", json.dumps([record]))
                await asyncio.sleep(0.2)

    async with asyncio.TaskGroup() as group:
        group.create_task(publish())
        try:
            yield
        finally:
            done.set()


@pytest.fixture
async def gateway(tmp_path: Path, identity: tuple[Identity, int], vtn: Peer, *, signed: bool) -> AsyncIterator[Path]:
    """Run our gateway; yield its household file."""
    household: dict[str, Any] = {
        "version": 1,
        "name": _NAME,
        "identity": "identity",
        "state": "state",
        "vtn": {"jitter": 0, "signatures": "required" if signed else "off"},
        "devices": [
            {"id": "meter", "driver": "senml_meter", "with": {"id": "m1"}, "role": "grid_meter"},
            {"id": "plug", "driver": "shelly1", "with": {"id": "shellyplug-1"}, "role": "plug", "nominal_w": 500},
        ],
        "programmes": [{"match": {"signal": "SIMPLE"}, "levels": {1: {"plug": {"switch": "off"}}}}],
        "resources": [{"id": "home", "meter": "meter"}],
        "history": {"days": 0, "wait_s": 0},
        "reports": {"min_period": "PT1S", "settle": "PT1S", "one_value_per_interval": True},
    }
    stage = Stage(tmp_path)
    with mosquitto(tmp_path, persistence=False) as broker:
        household["mqtt"] = {"host": broker.host, "port": broker.port}
        path = tmp_path / "household.yaml"
        path.write_text(json.dumps(household))
        async with _meter(broker):
            try:
                await stage.start("ven", "evenload", "ven", "run", "--config", str(path))
                yield path
                stage.check()
            finally:
                await stage.stop()


async def test_our_ven_lives_with_openleadrs_vtn(tmp_path: Path, vtn: Peer, gateway: Path) -> None:
    assert (await vtn.heard("registered"))["ven_name"] == _NAME

    # Its reports are registered, and those that were asked for arrive with their values.
    offer = await vtn.heard("offer", lambda one: one["name"] == "METADATA_TELEMETRY_USAGE")
    assert offer["points"] == {"home/energy": ["Wh", "home"], "home/power": ["W", "home"]}
    await vtn.heard("offer", lambda one: one["name"] == "METADATA_TELEMETRY_STATUS")
    await vtn.heard("message", lambda one: one["kind"] == "oadrCreatedReport" and one["code"] == 200)
    for r_id, expected in (("home/power", _POWER_W), ("home/energy", _POWER_W * 2 / 3600)):
        told = await vtn.heard("values", lambda one, r_id=r_id: one["r_id"] == r_id and one["values"][-1][1] > 0)
        assert told["values"][-1][1] == pytest.approx(expected, rel=0.05)

    # An event: opted in to, then out of by the household, then cancelled by the operator.
    await vtn.obey("dispatch", event_id="event-1")
    assert (await vtn.heard("opt"))["opt"] == "optIn"
    first = ["event-1", 0, "optIn", 200]
    await vtn.heard("message", lambda one: first in one["answers"])
    await Stage(tmp_path).run("evenload", "ven", "opt-out", "event-1", "--config", str(gateway))
    second = ["event-1", 0, "optOut", 200]
    await vtn.heard("message", lambda one: second in one["answers"])

    await vtn.obey("cancel", event_id="event-1")
    await vtn.heard("message", lambda one: any(answer[:2] == ["event-1", 1] for answer in one["answers"]))
    await vtn.obey("list")
    assert (await vtn.heard("events"))["events"] == []

    # It warns of what it does not understand: the report in which a home says what it thinks that it delivered.
    (warning,) = (tmp_path / "vtn.log").read_text().splitlines()
    assert warning.endswith("Skipping report with name x-SELF_ASSESSMENT.")

    # Nothing waits in the gateway, and nothing had to be set aside.
    async def status() -> dict[str, Any]:
        return json.loads(await Stage(tmp_path).run("evenload", "ven", "status", "--json", "--config", str(gateway)))

    deadline = time.monotonic() + 20
    while (found := await status())["outbox"]["waiting"]:
        assert time.monotonic() < deadline, found
    assert found["outbox"]["set_aside"] == []
    assert found["registration"]["vtn_id"] == _VTN_ID
