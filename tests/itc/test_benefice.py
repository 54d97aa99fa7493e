"""BENEFFICE D4.3, chapter 2: the integration of gateway, sensors and backend (B1 to B6), by name.

The backend is a real VTN behind mutual TLS with its database, and a real Mosquitto; the gateway is enrolled with it by
a one-time code. World time stands still unless a case moves it, so "within three minutes" and "each minute" are exact.

B5 (updates over the air) is not there: what is tested is that the versions that run are told, and that nothing that
comes over the channel changes them.
"""

import asyncio
import json
import math
import platform
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from certs.provisioning import new_key_and_request, store_bundle
from core.spans import Duration
from openadr.fingerprint import fingerprint_of_pem
from openadr.v20b.encode import encode
from openadr.v20b.messages import Poll
from support.broker import Broker, Tls, mosquitto
from support.itc_home import Asset, Home, client, play, together
from support.pki import Pki, make_pki
from support.vtn_world import World, migrated_sqlite, open_copy, world_on
from support.waiting import until
from ven.status import as_lines, read_status
from vtn.services import fleet, pending, provisioning, ven_view
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.readings import load, series_of
from vtn.transport.v20b.http import Edge, OpenADRServer
from web.connections import Connections
from web.listening import Site

from .assets import SMART_METERS

Make = Callable[..., Home]
MINUTE = timedelta(minutes=1)
STALE_AFTER_S = 180.0
METER = SMART_METERS[0]
METERING_POINT = "AT0010000000000000001000000004711"
HEARTBEAT = "evenload/home/heartbeat"


@dataclass
class Backend:
    """A VTN at a socket, its authority, and its operator's view."""

    world: World
    pki: Pki
    url: str

    async def create(self, name: str) -> tuple[str, str]:
        """Create a VEN; return its id and a one-time code."""
        async with self.world.tx() as tx:
            ven_id = await provisioning.create_ven(tx, name, self.world.now, who="lab")
            return ven_id, await provisioning.new_enrolment_code(tx, ven_id, self.world.now, who="lab")

    async def enrol(self, identity: Path, name: str) -> str:
        """Enrol a gateway as `evenload ven enrol` does; return its venID."""
        ven_id, code = await self.create(name)
        request = new_key_and_request(identity, name)
        async with self.world.tx() as tx:
            enrolled = await provisioning.redeem(tx, code, request, self.pki.authority, self.world.now)
        self.keep(identity, name, ven_id, enrolled.certificate_pem)
        return ven_id

    def keep(self, identity: Path, name: str, ven_id: str, pem: str) -> None:
        """Complete an identity."""
        names = {"vtn_url": self.url, "vtn_id": "vtn", "ven_id": ven_id, "ven_name": name}
        names |= {"certificate": pem, "ca": self.pki.authority.ca_pem, "fingerprint": fingerprint_of_pem(pem.encode())}
        store_bundle(identity, names)

    async def row(self, ven_id: str) -> fleet.FleetRow:
        """Return a VEN as the fleet's page shows it now."""
        await self.world.directory.flush_seen()
        async with self.world.db.read() as conn:
            return await fleet.one(conn, ven_id, self.world.now, STALE_AFTER_S)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    pki = make_pki(tmp_path)
    wanted = (WantedReport("TELEMETRY_USAGE", Duration.of(minutes=1), Duration.of(minutes=1)),)
    settings = VtnSettings("vtn", poll_period=Duration.of(minutes=1), wanted_reports=wanted)
    database = open_copy(migrated_sqlite(tmp_path / "empty.db"), tmp_path / "vtn.db")
    async with world_on(database, settings) as world:
        server = OpenADRServer(world.vtn, Edge(), CollectorRegistry())
        runner: web.ServerRunner = server.runner()
        await runner.setup()
        await Site(runner, "127.0.0.1", 0, Connections(), tls=pki.server(), trusted=False).start()
        yield Backend(world, pki, f"https://127.0.0.1:{runner.addresses[0][1]}/OpenADR2/Simple/2.0b")
        await runner.cleanup()


@pytest.fixture
def gateway(home: Make, backend: Backend) -> Make:
    """Return a maker of homes whose gateways are the backend's, and share its clock."""

    def make(assets: Asset | dict[str, Asset], **more: Any) -> Home:
        usual = {"vtn": {"jitter": 0, "longest_wait_s": 1}, "heartbeat": {}}
        return home(assets, clock=backend.world.clock, **usual | more)

    return make


async def until_row(backend: Backend, ven_id: str, fits: Callable[[fleet.FleetRow], object], what: str) -> None:
    """Wait until the fleet's page shows something of a VEN."""
    try:
        async with asyncio.timeout(20):
            while not fits(await backend.row(ven_id)):  # noqa: ASYNC110  another's database
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None


# -- B1, B2: the fleet's page


async def test_b1_a_gateway_that_is_powered_on_registers_within_three_minutes(gateway: Make, backend: Backend) -> None:
    place = gateway(METER)
    ven_id = await backend.enrol(place.household.identity, "home")
    before = await backend.row(ven_id)
    assert (before.registered, before.presence) == (False, fleet.Presence.OFFLINE)
    powered_on = backend.world.now
    async with place.gateway():
        await until_row(backend, ven_id, lambda row: row.registered, "the registration")
        row = await backend.row(ven_id)
    assert row.registered_at is not None
    assert row.registered_at - powered_on <= 3 * MINUTE
    assert row.presence is fleet.Presence.ONLINE


async def test_b2_last_seen_is_renewed_each_minute(gateway: Make, backend: Backend) -> None:
    place = gateway(METER)
    ven_id = await backend.enrol(place.household.identity, "home")
    with client(place.broker, HEARTBEAT) as listener:
        async with place.gateway():
            await until_row(backend, ven_id, lambda row: row.registered, "the registration")
            beats = len(listener.heard)
            for _ in range(5):
                backend.world.clock.advance(MINUTE)
                now = backend.world.now
                await until_row(backend, ven_id, lambda row: row.last_seen_at == now, "its poll")  # noqa: B023  at once
                beats += 1
                await until(lambda: len(listener.heard) >= beats, "its heartbeat")  # noqa: B023  at once
                assert json.loads(listener.heard[-1][1])["at"] == now.isoformat()
        heard = len(listener.heard)
        row = await backend.row(ven_id)
        assert row.presence is fleet.Presence.ONLINE
        last = row.last_seen_at
        backend.world.clock.advance(4 * MINUTE)  # it is switched off
        row = await backend.row(ven_id)
        assert (row.last_seen_at, row.stale) == (last, True)
        backend.world.clock.advance(60 * MINUTE)
        assert (await backend.row(ven_id)).presence is fleet.Presence.OFFLINE
        assert len(listener.heard) == heard


# -- B3: the device's page


async def test_b3_the_gateways_page(gateway: Make, backend: Backend) -> None:
    """Address, temperature, versions and the meter's number are told; values once there are some, as at the VTN."""
    resources = [{"id": METERING_POINT, "meter": "asset"}]
    place = gateway(METER, resources=resources)
    ven_id = await backend.enrol(place.household.identity, "home")
    with client(place.broker, HEARTBEAT) as listener, client(place.broker) as meter:
        async with place.gateway():
            await until_row(backend, ven_id, lambda row: row.registered, "the registration")
            backend.world.clock.advance(MINUTE)
            await until(lambda: listener.heard, "a heartbeat")
            words = json.loads(listener.heard[-1][1])
            assert words["ip"] == "127.0.0.1"
            assert words["firmware"] == f"{platform.system()} {platform.release()}"
            assert words["runtime"] == f"evenload {version('evenload')}, Python {platform.python_version()}"
            assert {"cpu_temperature", "since", "name", "at"} < set(words)
            (shown,) = read_status(place.household)["devices"]
            assert shown["power_w"] is None, "it is not installed in a home yet"
            registers = await play(place, METER, meter, range(1, 121, 60), MINUTE)
            registers += await play(place, METER, meter, range(121, 122), MINUTE)
            for _ in range(3):
                backend.world.clock.advance(MINUTE)
            (shown,) = read_status(place.household)["devices"]
            assert shown["power_w"] == 3600.0, "60 Wh a minute"
            assert "asset" in as_lines(read_status(place.household))
            await until_row(backend, ven_id, lambda row: row.last_seen_at == backend.world.now, "its poll")
            async with backend.world.db.read() as conn:
                dossier = await ven_view.read(conn, ven_id)
            assert METERING_POINT in [resource.id for resource in dossier.resources]
            assert await _energy_at_the_vtn(backend, ven_id, 2) == [60.0, 60.0]
    assert place.stored() == together(registers)


async def _energy_at_the_vtn(backend: Backend, ven_id: str, count: int) -> list[float]:
    """Return the energies (Wh) of minutes that the VTN has of the meter, once there are so many; minutes go by."""
    values: list[float] = []
    async with asyncio.timeout(20):
        while len(values) < count:
            backend.world.clock.advance(MINUTE)
            await asyncio.sleep(0.05)
            async with backend.world.db.read() as conn:
                for key in await series_of(conn, ven_id):
                    if key.quantity == "energy_real":
                        energies = (await load(conn, key, 0, 2**40)).values
                        values = [float(energy) for energy in energies if not math.isnan(energy)]
    return values


# -- B4: only who is certified gets in


async def test_b4_only_gateways_of_the_authority_reach_the_vtn(backend: Backend) -> None:
    backend.pki.issue("stranger", kind="foreign")
    backend.pki.issue("late", kind="expired")
    poll = {"data": encode(Poll("ven-1")), "headers": {"Content-Type": "application/xml"}}
    for name in ("stranger", "late", None):
        connector = aiohttp.TCPConnector(ssl=backend.pki.client(name))
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(aiohttp.ClientError):
                await session.post(f"{backend.url}/OadrPoll", **poll)


@pytest.mark.parametrize("kind", ["unknown", "revoked"])
async def test_b4_a_gateway_without_a_valid_certificate_of_its_own_stays_out(
    gateway: Make, backend: Backend, kind: str
) -> None:
    """A certificate of no VEN, or that was revoked: the gateway says so, and so does the operator's list."""
    place = gateway(METER)
    identity = place.household.identity
    if kind == "unknown":
        ven_id = (await backend.create("home"))[0]
        issued = backend.pki.authority.sign_request(new_key_and_request(identity, "home"), "home")
        backend.keep(identity, "home", ven_id, issued.chain_pem)
    else:
        ven_id = await backend.enrol(identity, "home")
        async with backend.world.tx() as tx:
            async with backend.world.db.read() as conn:
                (certificate,) = (await ven_view.read(conn, ven_id)).certificates
            await provisioning.revoke_certificate(tx, certificate.fingerprint, backend.world.now, who="lab")
    async with place.gateway():
        await until(lambda: read_status(place.household)["errors_from_vtn"], "the refusal")
        status = read_status(place.household)
    assert status["registration"] is None
    assert "No VEN is known by this certificate" in status["errors_from_vtn"][0]["reason"]
    assert not (await backend.row(ven_id)).registered
    async with backend.world.db.read() as conn:
        assert len(await pending.certificates(conn)) == (1 if kind == "unknown" else 0)


# paho leaves the socket of a failed handshake to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_b4_only_gateways_of_the_authority_reach_the_broker(tmp_path: Path) -> None:
    pki = make_pki(tmp_path)
    for name, kind in (("home", "good"), ("stranger", "foreign")):
        pki.issue(name, kind=kind)
    ca = pki.authority.directory / "ca.pem"
    with mosquitto(tmp_path, tls=Tls(ca, tmp_path / "server.pem", tmp_path / "server.key", client_ca=ca)) as broker:
        for name, gets_in in (("home", True), ("stranger", False)):
            tls = {"ca": str(ca), "cert": str(tmp_path / f"{name}.pem"), "key": str(tmp_path / f"{name}.key")}
            mqtt = {"host": broker.host, "port": broker.port, "client_id": name, "tls": tls}
            place = Home(tmp_path / f"home-{name}", broker, METER, mqtt=mqtt)
            with capture_logs() as logs:
                async with place.gateway(gets_in=gets_in):
                    if not gets_in:
                        await until(lambda: _hung_up(logs) > 1, "the refusals")
            ups = [log["event"] for log in logs if log["event"] == "MQTT connection is up"]
            assert (len(ups), _hung_up(logs) > 0) == ((1, False) if gets_in else (0, True))


def _hung_up(logs: Sequence[Mapping[str, Any]]) -> int:
    return len([log for log in logs if log["event"] == "MQTT broker lost or not reachable"])


# -- B5: versions


async def test_b5_versions_are_told_and_nothing_that_comes_changes_them(gateway: Make, backend: Backend) -> None:
    place = gateway(METER)
    ven_id = await backend.enrol(place.household.identity, "home")
    files = {path: path.read_bytes() for path in [place.folder / "household.yaml", *place.household.identity.iterdir()]}
    with client(place.broker, HEARTBEAT) as listener, client(place.broker) as stranger:
        async with place.gateway():
            await until_row(backend, ven_id, lambda row: row.registered, "the registration")
            backend.world.clock.advance(MINUTE)
            await until(lambda: listener.heard, "a heartbeat")
            for topic in ("update", "firmware", "command", "heartbeat/set", "config"):
                stranger.say(f"evenload/home/{topic}", {"version": "99.0", "url": "https://127.0.0.1:1/image"})
            backend.world.clock.advance(MINUTE)
            await until(lambda: len(listener.heard) > 1, "the next heartbeat")
            runtime = [json.loads(payload)["runtime"] for _, payload in listener.heard]
    assert set(runtime) == {f"evenload {version('evenload')}, Python {platform.python_version()}"}
    assert {path: path.read_bytes() for path in files} == files


# -- B6: sensors


OPENHAB = {
    "title": "Sensors of a BENEFFICE home, behind openHAB",
    "points": {
        "power": {"topic": "openhab/out/VPM_Power/state", "template": "{{ value.split(' ')[0] }}", "unit": "kW"},
        "energy": {"topic": "openhab/out/VPM_Energy/state", "template": "{{ value.split(' ')[0] }}", "unit": "kWh"},
        "indoor": {
            "topic": "openhab/out/DS18B20/state",
            "template": "{{ value.split(' ')[0] }}",
            "unit": "C",
            "quantity": "temperature",
            "kind": "instant",
        },
        "philio": {
            "topic": "openhab/out/Philio_Temperature/state",
            "unit": "C",
            "quantity": "temperature",
            "kind": "instant",
        },
        "gas": {"topic": "openhab/out/NorthQ_Gas/state", "unit": "m3", "quantity": "volume", "kind": "register"},
    },
}
SENSORS = Asset(
    "sensors behind openHAB",
    "beneffice_openhab",
    {},
    lambda n, _: [
        ("openhab/out/VPM_Power/state", f"{1.5 + n} kW"),
        ("openhab/out/VPM_Energy/state", f"{4711.5 + n} kWh"),
        ("openhab/out/DS18B20/state", f"{21.5 + n} °C"),
        ("openhab/out/Philio_Temperature/state", f"{20.25 + n}"),
        ("openhab/out/NorthQ_Gas/state", f"{812.5 + n}"),
    ],
    lambda n: {
        "power": 1500 + 1000 * n,
        "energy": 4_711_500 + 1000 * n,
        "indoor": 21.5 + n,
        "philio": 20.25 + n,
        "gas": 812_500 + 1000 * n,
    },
)


async def test_b6_every_sensor_of_a_home_reaches_the_gateway(home: Make, broker: Broker) -> None:
    """Power meter (VPM), DS18B20, Philio and NorthQ behind openHAB: every value is in the store as it was said."""
    place = home(SENSORS, templates={"beneffice_openhab": OPENHAB})
    with client(broker) as openhab:
        async with place.gateway():
            registers = await play(place, SENSORS, openhab, range(4), MINUTE)
            for word in ("NULL", "UNDEF", ""):  # how openHAB says that it does not know
                for topic, _ in SENSORS.messages(0, place.clock.now()):
                    openhab.say(topic, word)
            registers += await play(place, SENSORS, openhab, range(4, 5), MINUTE)
    assert place.stored() == together(registers)
