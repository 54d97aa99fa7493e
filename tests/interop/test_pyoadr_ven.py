"""pyOADR-VEN 0.6.0 against our VTN: separate processes, mutual TLS, and a VTN in tolerant mode.

Its messages need tolerance, the first one already. What it gets wrong is asserted as well, so that a release that does
better is noticed.
"""

import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from evenload.settings import VTN_ID
from support.peer import Peer, Told, peer

from .conftest import Vtn

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("pyoadr_agent.py")
_CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_RELEASE = "pyOADR-VEN==0.6.0"
_POWER_W = 1234.5
_SIMPLE = {"name": "SIMPLE", "type": "level", "intervals": [{"duration": "PT30M", "value": 1}]}
_LOAD = {"name": "LOAD_DISPATCH", "type": "delta", "unit": "W", "intervals": [{"duration": "PT30M", "value": -500}]}
_FAULTS = {
    ("mended", "unqualified schemaVersion"),
    ("mended", "missing requestID"),
    ("mended", "missing reportRequestID of metadata"),
    ("mended", "namespace of an element"),
    ("mended", "answer to an event without a decision"),
    ("refused", "oadrCreatedEvent 450"),
    ("refused", "oadrResponse 459"),
}
"""What our VTN notes of its messages."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has pyOADR-VEN, in an environment of its own.

    There is only a source archive, built with the abandoned pytest-runner, and it brings eight packages along. One of
    them, pony, reads byte code and so has to know each new Python. Our own environment is better off without.
    """
    place = tmp_path_factory.mktemp("pyoadr") / "venv"
    subprocess.run((sys.executable, "-m", "venv", "--without-pip", place), check=True, timeout=60)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", place)
    install = subprocess.run(
        (*pip, "install", "-q", "-c", _CONSTRAINTS, _RELEASE), check=False, capture_output=True, text=True, timeout=240
    )
    assert install.returncode == 0, install.stdout + install.stderr
    return place / "bin" / "python"


class Ven:
    """The agent's process, and who it is at our VTN."""

    def __init__(self, vtn: Vtn, ven_id: str, process: Peer) -> None:
        self.id = ven_id
        self.process = process
        self._vtn = vtn
        self._numbers = itertools.count()

    async def obey(self, order: str, **details: object) -> Told:
        number = next(self._numbers)
        since = len(self.process.told)
        await self.process.obey(order, number=number, **details)
        done = await self.process.heard("done", lambda told: told["number"] == number)
        news = self.process.told[since:]
        return done | {way: [told["kind"] for told in news if told["told"] == way] for way in ("sends", "gets")}

    async def faults(self) -> set[tuple[str, str]]:
        """Return what our VTN says of its messages."""
        return {(one["kind"], one["subject"]) for one in (await self._vtn.desk.get(f"/vens/{self.id}"))["faults"]}


@asynccontextmanager
async def _ven(
    vtn: Vtn, python: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> AsyncIterator[Ven]:
    ven_id = (await vtn.desk.post("/vens", {"name": "pyoadr", "strict": strict}))["ven"]["id"]
    issued = Authority.load(folder / "vtn" / "ca").issue_client(ven_id)
    await vtn.desk.post(f"/vens/{ven_id}/certificates", {"pem": issued.chain_pem})
    bundle = folder / "bundle.pem"
    bundle.write_text((issued.key_pem or "") + issued.chain_pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(vtn.ca))
    address = vtn.url.partition("/OpenADR2")[0]
    config = {"ven_name": "pyoadr", "ven_id": ven_id, "vtn_id": VTN_ID, "address": address, "ca": str(vtn.ca)}
    async with peer(_SCRIPT, folder / "ven.log", python=python, bundle=str(bundle), **config) as process:
        yield Ven(vtn, ven_id, process)


async def _order(vtn: Vtn, programme_id: str, hours: int, *signals: dict[str, Any]) -> dict[str, Any]:
    """Order something for half an hour, in some hours; return the dispatch and its event."""
    start = (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)
    body = {"programme_id": programme_id, "start": start.isoformat(), "signals": signals, "direction": "reduce"}
    return await vtn.desk.post("/dispatches", body)


async def _check_beginning(vtn: Vtn, ven: Ven) -> None:
    """It registers and offers its report, but stumbles over the poll interval that the VTN asks for."""
    done = await ven.obey("register")
    assert done["sends"] == ["oadrCreatePartyRegistration", "oadrPoll", "oadrPoll"]
    assert done["result"] == {"vtn_id": VTN_ID, "ven_id": ven.id, "poll_interval_secs": "DurationPropType"}
    done = await ven.obey("tick")
    assert done["gets"] == ["oadrRegisteredReport", "oadrCreateReport", "oadrResponse"]
    assert "oadrCreatedReport" not in done["sends"]
    assert done["fault"] == "TypeError"
    await ven.obey("poll_at_each_tick")


async def _check_readings(vtn: Vtn, ven: Ven) -> None:
    """Its values lie in the store, but say nothing of their unit."""
    since = datetime.now(UTC) - timedelta(minutes=5)
    await ven.obey("measure", power_w=_POWER_W, ago_s=4)
    await ven.obey("measure", power_w=_POWER_W, ago_s=2)

    async def reported() -> bool:
        return "oadrUpdatedReport" in (await ven.obey("tick"))["gets"]

    await vtn.until(reported, "its report")
    span = {"since": since.isoformat(), "until": (since + timedelta(minutes=10)).isoformat()}
    (series,) = await vtn.desk.all(f"/vens/{ven.id}/readings", span)
    assert (series["series"]["resource_id"], series["value"]) == ("heat-pump-power", [_POWER_W, _POWER_W])
    assert series["series"]["quantity"] == "heat-pump-power"
    (request,) = (await vtn.desk.get(f"/vens/{ven.id}/reports"))["requests"]
    assert request["state"] == "active"


async def _check_event(vtn: Vtn, ven: Ven, programme_id: str) -> None:
    """It leaves the decision for later, and tells it when the event comes again."""
    made = await _order(vtn, programme_id, 1, _SIMPLE)
    dispatch_id, event_id = made["dispatch"]["id"], made["events"][0]["id"]
    assert "oadrCreatedEvent" in (await ven.obey("tick"))["sends"]
    assert (await ven.obey("events"))["result"] == {event_id: ["far", "optIn", 0]}
    event = await vtn.event(dispatch_id)
    assert (event["opt"], event["answered_at"]) == (None, None)
    await ven.obey("request_events")
    event = await vtn.event(dispatch_id)
    assert event["opt"] == "optIn"
    assert event["answered_at"]

    await vtn.desk.post(f"/dispatches/{dispatch_id}/cancellation")
    assert "oadrCreatedEvent" in (await ven.obey("tick"))["sends"]
    assert (await ven.obey("events"))["result"] == {event_id: ["cancelled", "optIn", 0]}  # our number is 1
    assert (await vtn.event(dispatch_id))["answered_at"] is None
    await ven.obey("request_events")
    assert (await ven.obey("events"))["result"] == {event_id: ["cancelled", "optIn", 1]}
    assert (await vtn.event(dispatch_id))["answered_at"]
    assert (await vtn.status())["outbox"].get("sent") == 1  # what we offer to report: it never answers that (RP-01)


async def _check_two_signals(vtn: Vtn, ven: Ven, programme_id: str) -> None:
    """An event of two signals is beyond it, and keeps it from those that come after."""
    before = set((await ven.obey("events"))["result"])
    made = [await _order(vtn, programme_id, 2, _SIMPLE, _LOAD), await _order(vtn, programme_id, 4, _SIMPLE)]
    done = await ven.obey("request_events")
    assert done["fault"] == "OpenADRInterfaceException"
    assert done["sends"] == ["oadrRequestEvent", "oadrResponse"]
    assert set((await ven.obey("events"))["result"]) == before
    for one in made:
        assert (await vtn.event(one["dispatch"]["id"]))["opt"] is None


async def test_it_lives_with_a_tolerant_vtn(
    tolerant_vtn: Vtn, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vtn = tolerant_vtn
    async with _ven(vtn, python, tmp_path, monkeypatch, strict=False) as ven:
        await _check_beginning(vtn, ven)
        await _check_readings(vtn, ven)
        programme = await vtn.desk.post("/programmes", {"name": "P", "market_context": "http://evenload.example/p"})
        await vtn.desk.post(f"/programmes/{programme['id']}/enrolments", {"ven_ids": [ven.id]})
        await _check_event(vtn, ven, programme["id"])
        await _check_two_signals(vtn, ven, programme["id"])

        async def all_faults() -> bool:
            return await ven.faults() >= _FAULTS

        await vtn.until(all_faults, "the faults of its messages")
        assert await ven.faults() == _FAULTS


async def test_a_strict_vtn_takes_nothing_of_it(
    vtn: Vtn, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _ven(vtn, python, tmp_path, monkeypatch, strict=True) as ven:
        for order in ("register", "tick", "request_events"):
            done = await ven.obey(order)
            assert (done["fault"], done["gets"]) == ("OpenADRInterfaceException", [])
            assert "406" in done["text"]
        assert (await vtn.desk.get(f"/vens/{ven.id}"))["ven"]["registered_at"] is None
