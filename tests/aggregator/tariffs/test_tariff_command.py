"""`evenload tariff` at a running API."""

import asyncio
import json

import pytest

from evenload.cli import main
from support.vtn_world import NOON


@pytest.fixture
def shell(counter, capsys, monkeypatch):
    """Return a function that types a command and returns (exit code, output, complaint)."""
    monkeypatch.setenv("EVENLOAD_URL", str(counter.client.make_url("")))
    monkeypatch.setenv("EVENLOAD_TOKEN", counter.tokens["admin"])
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "250")

    def run(arguments):
        try:
            main(["tariff", *map(str, arguments)])
        except SystemExit as end:
            return end.code or 0
        return 0

    async def type_(*arguments, code=0):
        capsys.readouterr()
        ended = await asyncio.to_thread(run, arguments)  # the API runs in this loop
        told = capsys.readouterr()
        assert ended == code, told
        return told.out if code == 0 else told.err

    return type_


async def test_a_day_with_tariffs(shell, counter, tmp_path, street):
    ven = await counter.world.ven()
    game = await counter.world.programme(ven)
    await street.home(ven, area="north")
    tariff = (await shell("create", "electricity", "Day ahead", "--currency", "EUR", "--vat-included")).strip()
    network = (
        await shell("create", "network", "Grid", "--currency", "EUR", "--without-vat", "--area", "north")
    ).strip()
    table = tmp_path / "prices.csv"
    table.write_text(
        "start,end,per_kwh\n2026-01-12T13:00:00+01:00,2026-01-12T14:00:00+01:00,0.10\n"
        "2026-01-12T13:00:00Z,2026-01-12T14:00:00Z,-0.05\n"
    )
    assert "version 1" in await shell("put", tariff, table)
    more = tmp_path / "more.json"
    more.write_text(json.dumps([{"start": "2026-01-12T14:00:00Z", "duration": "PT1H", "per_kwh": "0.3"}]))
    assert "version 2" in await shell("put", tariff, more, "--extend")
    assert "version 1" in await shell("put", network, more)
    span = ("--since", NOON.isoformat(), "--until", "2026-01-13T00:00Z")
    assert [line.split()[-1] for line in (await shell("prices", tariff, *span)).splitlines()[1:]] == [
        "0.1",
        "-0.05",
        "0.3",
    ]
    assert json.loads(await shell("prices", tariff, "--version", "1", "--json"))["version"] == 1
    listed = await shell("list")
    assert "Day ahead" in listed
    assert "Grid" in listed
    assert "rest" in await shell("versions", tariff)
    assert "cannot be added" in await shell("household", ven.ven_id)
    assert "Price events are on." in await shell("signals", game.id)
    assert "Price events are off." in await shell("signals", game.id, "--off")
    mapping = tmp_path / "mapping.json"
    mapping.write_text(json.dumps({"items": "/data", "start": "/start", "value": "/price"}))
    address = ("--address", "https://prices.example/", "--mapping", mapping)
    assert "prices.example" in await shell("source", tariff, *address)
    assert "/data" in await shell("source", tariff, "--now")
    assert "not fetched any more" in await shell("source", tariff, "--remove")
    assert "Retired" in await shell("retire", network)
    assert "Grid" not in await shell("list")
    assert len(json.loads(await shell("list", "--json"))) == 2


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "{}", "holds no list"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", "[1]", "/prices/0"),
        ("a.csv", "start,end\n1,2\n", "/prices/0/per_kwh"),
        ("a.csv", "start,end,per_kwh\n2026-01-12T13:00:00,2026-01-12T14:00:00,1\n", "Write a time with zone"),
        ("a.csv", "", "/prices"),
    ],
)
async def test_bad_files_are_complained_of(shell, counter, tmp_path, name, text, complaint):
    tariff = (await shell("create", "network", "Grid", "--currency", "EUR", "--vat-included")).strip()
    (tmp_path / name).write_text(text)
    told = await shell("put", tariff, tmp_path / name, code=1)
    assert complaint in told
    assert "Traceback" not in told
    assert await counter.world.rows("tariff_version") == []


async def test_tariffs_go_by_their_names_and_retired_ones_stand_back(shell):
    create = ("create", "electricity", "Day and night", "--currency", "EUR", "--vat-included")
    first = (await shell(*create)).strip()
    assert f"Retired {first}" in await shell("retire", "day and night")
    second = (await shell(*create)).strip()
    assert f"Retired {second}" in await shell("retire", "Day and night")
    assert "could be any of these" in await shell("versions", "Day and night", code=1)
    assert "no tariff called 'Nobody'" in await shell("versions", "Nobody", code=1)


async def test_missing_files_are_complained_of(shell, tmp_path):
    await shell("create", "electricity", "Mine", "--currency", "EUR", "--vat-included")
    assert "cannot be read" in await shell("put", "Mine", tmp_path / "none.json", code=1)
    assert "no readable JSON" in await shell(
        "source", "Mine", "--address", "https://a.example/", "--mapping", tmp_path / "none.json", code=1
    )
    assert "belong together" in await shell("source", "Mine", "--address", "https://a.example/", code=1)
