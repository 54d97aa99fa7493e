"""openleadr's VEN against our VTN: separate processes, mutual TLS, and a VTN in strict mode for everybody.

No message of openleadr 0.5.36's VEN needs tolerance. It takes a vtnID in lower case for a fault and says 452 in the
eiResponse of its oadrCreatedEvent; our default has none.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certs.authority import Authority
from openadr.fingerprint import fingerprint_of_pem
from support.peer import Peer, peer

from .conftest import Vtn

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("openleadr_ven.py")
_DEADLINE_S = 30.0
_POWER_W = 1234.5
"""What the VEN's only meter always shows."""


@pytest.fixture(params=[False, True], ids=["plain", "signed"])
async def ven(vtn: Vtn, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Peer]]:
    """Yield the venID and the process of openleadr's VEN, registered under a certificate of our CA.

    If it signs, both sides insist on it: it takes no answer without a signature of the VTN's certificate.
    """
    ven_id = (await vtn.desk.post("/vens", {"name": "openleadr", "strict": True}))["ven"]["id"]
    issued = Authority.load(tmp_path / "vtn" / "ca").issue_client(ven_id)
    await vtn.desk.post(f"/vens/{ven_id}/certificates", {"pem": issued.chain_pem})
    (tmp_path / "cert.pem").write_text(issued.chain_pem)
    (tmp_path / "key.pem").write_text(issued.key_pem or "")
    if request.param:
        await vtn.desk.put(f"/vens/{ven_id}/signatures", {"policy": "required"})
    server = fingerprint_of_pem((tmp_path / "vtn" / "server-ec.pem").read_bytes()) if request.param else None
    signing = {"signed": request.param, "vtn_fingerprint": server}
    config = {"ven_name": "openleadr", "ven_id": ven_id, "vtn_url": vtn.url, "ca": str(vtn.ca)}
    files = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    async with peer(_SCRIPT, tmp_path / "ven.log", **config, **files, **signing) as one:
        await one.heard("registered", lambda told: told["ven_id"] == ven_id)
        yield ven_id, one


async def _dispatch(vtn: Vtn, ven_id: str) -> dict[str, Any]:
    """Order 500 W less for half an hour, in an hour."""
    programme = await vtn.desk.post("/programmes", {"name": "P", "market_context": "http://evenload.example/p"})
    await vtn.desk.post(f"/programmes/{programme['id']}/enrolments", {"ven_ids": [ven_id]})
    signal = {
        "name": "LOAD_DISPATCH",
        "type": "delta",
        "unit": "W",
        "intervals": [{"duration": "PT30M", "value": -500}],
    }
    start = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    body = {"programme_id": programme["id"], "start": start.isoformat(), "signals": [signal], "direction": "reduce"}
    return await vtn.desk.post("/dispatches", body)


async def _telemetry_request(vtn: Vtn, ven_id: str) -> dict[str, Any]:
    async def active() -> Any:
        requests = (await vtn.desk.get(f"/vens/{ven_id}/reports"))["requests"]
        return [one for one in requests if one["name"] == "TELEMETRY_USAGE" and one["state"] == "active"]

    (request,) = await vtn.until(active, "the telemetry request")
    return request


async def _check_readings(vtn: Vtn, ven_id: str) -> None:
    """Its values lie in the store, each once."""
    now = datetime.now(UTC)
    span = {"since": (now - timedelta(minutes=5)).isoformat(), "until": (now + timedelta(minutes=5)).isoformat()}

    async def four() -> Any:
        found = await vtn.desk.all(f"/vens/{ven_id}/readings", span)
        return found if found and len(found[0]["value"]) >= 4 else None

    (series,) = await vtn.until(four, "four readings")
    assert series["series"] == {
        "resource_id": "heat-pump",
        "quantity": "power_real",
        "kind": "instant",
        "source": "ven",
    }
    assert set(series["value"]) == {_POWER_W}
    assert len(set(series["start"])) == len(series["start"])


async def _check_event(vtn: Vtn, ven_id: str, client: Peer) -> None:
    """An event is opted in to, then out of in both ways that OpenADR has, then cancelled by the operator."""
    made = await _dispatch(vtn, ven_id)
    dispatch_id, event_id = made["dispatch"]["id"], made["events"][0]["id"]
    told = await client.heard("event", lambda one: one["event_id"] == event_id)
    assert told["signals"] == [["LOAD_DISPATCH", "delta", [-500]]]

    async def opted(opt: str) -> dict[str, Any]:
        async def same() -> Any:
            one = await vtn.event(dispatch_id)
            return one if one["opt"] == opt else None

        return await vtn.until(same, opt)

    assert (await opted("optIn"))["answered_at"]
    await client.obey("answer", event_id=event_id, opt="optOut")
    await opted("optOut")
    await client.obey("create_opt", event_id=event_id, opt="optIn")
    await opted("optIn")
    await client.obey("create_opt", event_id=event_id, opt="optOut")
    await opted("optOut")

    await vtn.desk.post(f"/dispatches/{dispatch_id}/cancellation")
    told = await client.heard("event changed", lambda one: one["event_id"] == event_id)
    assert (told["status"], told["modification"]) == ("cancelled", 1)
    await vtn.until(vtn.has_said_all, "the empty outbox")
    assert (await vtn.event(dispatch_id))["status"] == "cancelled"


async def _check_new_beginning(vtn: Vtn, ven_id: str, client: Peer, request: dict[str, Any]) -> None:
    """A report is stopped; a new registration begins it anew."""
    await vtn.desk.post(f"/report-requests/{request['id']}/cancellation")
    await client.heard("message", lambda one: one["kind"] == "oadrCancelReport")
    await vtn.until(vtn.has_said_all, "the empty outbox")
    await vtn.desk.post(f"/vens/{ven_id}/reregistration")
    again = await _telemetry_request(vtn, ven_id)
    assert again["id"] != request["id"]
    await vtn.until(vtn.has_said_all, "the empty outbox")


async def test_openleadrs_ven_lives_with_our_vtn(vtn: Vtn, ven: tuple[str, Peer]) -> None:
    ven_id, client = ven
    assert (await vtn.desk.get(f"/vens/{ven_id}"))["ven"]["registered_at"]
    await client.heard("message", lambda one: one["kind"] == "oadrRegisterReport")
    request = await _telemetry_request(vtn, ven_id)
    assert request["r_ids"] == ["heat-pump-power"]
    assert request["granularity"] == "PT1S", "PT2S is wanted, and it offers PT1S to PT1S"
    await _check_readings(vtn, ven_id)
    await _check_event(vtn, ven_id, client)
    await client.obey("schedule", opt="optOut")
    told = await client.heard("schedule")
    assert told["made"]
    assert told["cancelled"]
    await _check_new_beginning(vtn, ven_id, client, request)

    # It leaves; nothing was refused, given up or answered with a fault on the way.
    await client.obey("unregister")
    await client.heard("message", lambda one: one["kind"] == "oadrCanceledPartyRegistration")
    assert not (await vtn.desk.get(f"/vens/{ven_id}"))["ven"]["registered_at"]
    assert (await vtn.status())["dead"] == []
    assert (await vtn.desk.get(f"/vens/{ven_id}"))["faults"] == []
    assert {one["code"] for one in client.told if one["told"] == "message"} <= {200, None}
    assert "refused" not in vtn.log()
