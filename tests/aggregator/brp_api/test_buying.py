"""The whole story as a buyer has it: by the commands, and by the example."""

import asyncio
import importlib.util
import json
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenload.cli import main

EXAMPLE = Path(__file__).parents[3] / "examples" / "brp.py"


@pytest.fixture
async def shop(market, monkeypatch):
    """A market with ten homes of 1 kW, and a buyer's environment."""
    programme = await market.programme(10)
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme)
    monkeypatch.setenv("NO_COLOR", "1")
    for name, value in (
        ("URL", str(market.http.make_url("")).rstrip("/")), ("CLIENT_ID", buyer.client_id), ("SECRET", buyer.secret),
    ):  # fmt: skip
        monkeypatch.setenv(f"EVENLOAD_BRP_{name}", value)
    return market, buyer, contract


@pytest.fixture
def type_(capsys):
    """Types a command, in a thread: its server runs in this one."""

    async def run(*arguments, code=0):
        def go():
            try:
                main(["brp", *map(str, arguments)])
            except SystemExit as end:
                return end.code or 0
            return 0

        capsys.readouterr()
        ended = await asyncio.to_thread(go)
        told = capsys.readouterr()
        assert ended == code, told.err
        return told.out if code == 0 else told.err

    return run


def _lines(text):
    """Return what the command printed, without the server's log."""
    return [line for line in text.splitlines() if "[info " not in line]


async def test_the_commands_of_a_day(shop, type_):
    market, _, contract = shop
    start = market.world.now + timedelta(hours=1)
    when = ("--start", start.isoformat(), "--duration", "PT1H", "--contract", contract.id)
    request_id = _lines(await type_("request", *when, "--power-w", 4000, "--min-power-w", 1000))[-1]
    await market.turn()
    offer_text = await type_("offers")
    offer_id = next(line.split()[0] for line in _lines(offer_text) if line.strip().startswith("fof_"))
    assert "full" in offer_text
    activation_id = _lines(await type_("accept", offer_id, "--factor", 0.9))[-1]
    await market.turn()
    assert "notified" in await type_("activations")
    assert "at modification 1" in await type_("change", activation_id, "--power-w", 2000)
    refused = await type_("cancel", request_id, code=1)
    assert activation_id in refused

    for later in (timedelta(hours=1), timedelta(hours=1), timedelta(minutes=10)):
        await market.turn(later=later)
        await market.meter()
    (last,) = [line for line in _lines(await type_("watch", activation_id, "--json")) if line.startswith("{")]
    assert json.loads(last)["status"] == "completed"
    assert "completed" in await type_("watch", activation_id)
    report = await type_("report", activation_id)
    assert "of 2000 Wh" in report
    rows = [line for line in _lines(await type_("report", activation_id, "--csv")) if line]
    assert rows[0].startswith("activation_id,version,direction,method,start,duration_s,ordered_w")
    assert len(rows) == 5  # an hour of quarters
    whole = await type_("report", activation_id, "--json")
    assert json.loads("\n".join(_lines(whole)))["activation_id"] == activation_id
    assert "EUR" in await type_("settlements")

    order = _lines(await type_("order", "--start", (market.world.now + timedelta(hours=2)).isoformat(),
                               "--power-w", 500, "--contract", contract.id))[-1]  # fmt: skip
    assert "cancelled" in await type_("cancel", order, "--reason", "not needed")


async def test_the_example_buys(shop, capsys):
    market, buyer, _ = shop
    spec = importlib.util.spec_from_file_location("brp_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def sleep(_seconds):
        """Where the example waits, the world goes on."""
        await market.turn(later=timedelta(minutes=20))

    module.asyncio = SimpleNamespace(sleep=sleep)
    url = str(market.http.make_url("")).rstrip("/")
    start = market.world.now + timedelta(hours=1)
    async with module.Brp(url, buyer.client_id, buyer.secret) as brp:
        report = await module.buy(brp, "reduce", 4000, datetime.fromisoformat(start.isoformat()), 3600)
    assert report["ordered_wh"] > 1000
    told = capsys.readouterr().out
    assert "We are Balance & Co" in told
    assert "completed" in told


async def test_a_day_is_nominated_and_shown(shop, type_, tmp_path):
    market, _, contract = shop
    day = (market.world.now + timedelta(days=1)).date().isoformat()
    assert "Nothing was nominated." in await type_("baseline", "show", day)
    assert "Revision 1" in await type_("baseline", "nominate", day, "--power-w", 5000)
    powers = tmp_path / "powers.csv"
    powers.write_text("\n".join(str(1000.4 + place) for place in range(96)))
    made = json.loads(await type_("baseline", "nominate", day, "--file", powers, "--json"))
    assert (made["revision"], made["step_s"], made["power_w"][:2]) == (2, 900, [1000, 1001])
    shown = await type_("baseline", "show", day, "--contract", contract.id)
    assert "120" in shown  # kWh: 24 hours of 5 kW
    rows = json.loads(await type_("baseline", "show", day, "--json"))
    assert [one["revision"] for one in rows] == [1, 2]
    powers.write_text("1 2 three")
    assert "something else than numbers" in await type_("baseline", "nominate", day, "--file", powers, code=1)
    powers.write_text("1, 2, 3")
    assert "24, 48, 96 or 288" in await type_("baseline", "nominate", day, "--file", powers, code=1)
    assert "cannot be read" in await type_("baseline", "nominate", day, "--file", tmp_path / "nothing", code=1)
    assert "either" in await type_("baseline", "nominate", day, code=1)
