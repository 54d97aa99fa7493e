"""Tariffs over REST: what goes in and out, who may do what, and what is refused."""

import asyncio
from datetime import timedelta

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from aggregator.api.tariffs import OPERATIONS
from aggregator.tariff.prices import PriceSignals
from support.generated_times import draw_times_that_apis_take
from support.vtn_world import NOON
from web.api import Api
from web.auth import Role
from web.operation import inspect_handler

HOUR = timedelta(hours=1)
NEW = {"kind": "electricity", "name": "Day ahead", "currency": "EUR", "vat_included": True}
SOURCE = {
    "url": "https://prices.example/v1?key=s3cret",
    "mapping": {"items": "/data", "start": "/start", "value": "/price", "step": "PT1H"},
    "every": "PT30M",
}


def z(when):
    return when.isoformat().replace("+00:00", "Z")


async def make(counter, **change):
    return (await counter.post("/v1/tariffs", NEW | change))["id"]


async def put(counter, tariff_id, prices, status=200, **more):
    body = {"prices": prices, **more}
    return await counter.put(f"/v1/tariffs/{tariff_id}/prices", body, status, If_Match="*")


async def test_a_tariff_and_its_versions(counter, hours):
    made = await counter.post("/v1/tariffs", NEW)
    assert (made["newest"], made["source"], made["area"]) == (None, None, None)
    path = f"/v1/tariffs/{made['id']}/prices"
    assert (await counter.get(path))["prices"] == []
    first = await put(counter, made["id"], hours(NOON, "0.10", "0.2", "-0.3"))
    assert (first["version"], first["whole"], first["source"], first["created_by"]) == (1, True, "rest", "admin")
    await put(counter, made["id"], [{"start": z(NOON), "end": z(NOON + HOUR), "per_kwh": "0.15"}], extend=True)
    newest = await counter.get(path)
    assert (newest["version"], newest["currency"], newest["vat_included"]) == (2, "EUR", True)
    assert newest["prices"] == [{"start": z(NOON), "end": z(NOON + HOUR), "per_kwh": "0.15"}]
    span = f"?from={z(NOON + HOUR / 2)}&until={z(NOON + 9 * HOUR)}"
    now = await counter.get(path + span)
    assert [one["per_kwh"] for one in now["prices"]] == ["0.15", "0.2", "-0.3"]
    assert now["prices"][0]["start"] == z(NOON + HOUR / 2)
    assert [one["per_kwh"] for one in (await counter.get(f"{path}{span}&version=1"))["prices"]] == [
        "0.1",
        "0.2",
        "-0.3",
    ]
    assert (await counter.get(f"{path}?as_of={z(NOON - HOUR)}"))["version"] == 0
    assert (await counter.get(f"{path}{span}&as_of={z(NOON - HOUR)}"))["prices"] == []
    await counter.get(f"{path}?version=3", 404)
    listed = await counter.get(f"/v1/tariffs/{made['id']}/versions?limit=1")
    assert [one["version"] for one in listed["items"]] == [2]
    rest = await counter.get(f"/v1/tariffs/{made['id']}/versions?cursor={listed['next']}")
    assert [one["version"] for one in rest["items"]] == [1]
    assert (await counter.get(f"/v1/tariffs/{made['id']}"))["newest"] == listed["items"][0]


async def test_listing_goes_page_by_page(counter):
    ids = [await make(counter, area=f"area {number}") for number in range(5)]
    page = await counter.get("/v1/tariffs?limit=3")
    rest = await counter.get(f"/v1/tariffs?limit=3&cursor={page['next']}")
    assert [one["id"] for one in page["items"] + rest["items"]] == ids
    assert rest["next"] is None


async def test_prices_are_put_on_what_was_read(counter, hours):
    path = f"/v1/tariffs/{await make(counter)}/prices"
    first, second = {"prices": hours(NOON, "1")}, {"prices": hours(NOON, "2")}
    await counter.put(path, first, 428)
    await counter.get(path)
    tag = counter.etag
    await counter.put(path, first, If_Match=tag)
    await counter.put(path, second, 412, If_Match=tag)
    await counter.get(path)
    await counter.put(path, second, If_Match=counter.etag)
    assert (await counter.get(path))["version"] == 2


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"kind": "water"}, 422),
        ({"currency": "eur"}, 422),
        ({"currency": "XAU"}, 422),
        ({"name": ""}, 422),
        ({"name": " x "}, 422),
        ({"vat_included": 1}, 422),
        ({"programme_id": "prg_none"}, 404),
        ({"price": "1"}, 422),
    ],
)
async def test_an_odd_tariff_is_refused(counter, change, status):
    await counter.post("/v1/tariffs", NEW | change, status)
    assert await counter.world.rows("tariff") == []


async def test_a_second_one_of_the_same_is_refused(counter):
    tariff_id = await make(counter)
    await counter.post("/v1/tariffs", NEW, 409)
    await counter.post(f"/v1/tariffs/{tariff_id}/retirement", status=200)
    await counter.post(f"/v1/tariffs/{tariff_id}/retirement", status=200)
    await make(counter)


@pytest.mark.parametrize(
    "prices",
    [
        [],
        [{"start": z(NOON), "per_kwh": "1"}],
        [{"start": z(NOON), "duration": "PT1H", "end": z(NOON + HOUR), "per_kwh": "1"}],
        [{"start": "2026-01-12T12:00:00", "duration": "PT1H", "per_kwh": "1"}],
        [{"start": z(NOON), "duration": "PT30S", "per_kwh": "1"}],
        [{"start": z(NOON), "duration": "-PT1H", "per_kwh": "1"}],
        [{"start": z(NOON), "duration": "P9999Y", "per_kwh": "1"}],
        [{"start": z(NOON), "duration": "PT1H", "per_kwh": 1}],
        [{"start": z(NOON), "duration": "PT1H", "per_kwh": "NaN"}],
        [{"start": z(NOON), "duration": "PT1H", "per_kwh": "9999999"}],
        [{"start": z(NOON), "duration": "PT1H", "per_kwh": "1"}] * 2,
        [{"start": z(NOON + n * 2 * HOUR), "duration": "PT1H", "per_kwh": "1"} for n in range(2)],
    ],
)
async def test_bad_prices_change_nothing(counter, hours, prices):
    tariff_id = await make(counter)
    await put(counter, tariff_id, hours(NOON, "0.1"))
    before = await counter.world.dump()
    await put(counter, tariff_id, prices, 422)
    assert await counter.world.dump() == before


async def test_a_version_of_ten_thousand_intervals_fits_a_request(counter):
    tariff_id = await make(counter)
    minute = timedelta(minutes=1)
    prices = [{"start": z(NOON + n * minute), "duration": "PT1M", "per_kwh": "-0.12345"} for n in range(10_000)]
    await put(counter, tariff_id, prices)
    assert len((await counter.get(f"/v1/tariffs/{tariff_id}/prices"))["prices"]) == 10_000
    await put(counter, tariff_id, [*prices, {**prices[0], "start": z(NOON + 10_000 * minute)}], 422)


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-01-12T12:00:00Z",
        "from=2026-01-12T12:00:00Z&until=2026-01-12T12:00:00Z",
        "from=2026-01-12T12:00:00Z&until=2026-01-12T11:00:00Z",
        "version=1&as_of=2026-01-12T12:00:00Z",
        "version=0",
        "from=2026-01-12&until=2026-01-13",
    ],
)
async def test_odd_questions_are_refused(counter, hours, query):
    tariff_id = await make(counter)
    await put(counter, tariff_id, hours(NOON, "0.1"))
    await counter.get(f"/v1/tariffs/{tariff_id}/prices?{query}", 422)


async def test_a_source_is_put_shown_asked_and_removed(counter):
    tariff_id = await make(counter)
    path = f"/v1/tariffs/{tariff_id}/source"
    await counter.get(path, 404)
    made = await counter.put(path, SOURCE)
    assert made["url"] == SOURCE["url"]
    assert made["mapping"]["step"] == "PT1H"
    assert made["every"] == "PT30M"
    seen = await counter.get(f"/v1/tariffs/{tariff_id}", who="viewer")
    assert seen["source"]["host"] == "prices.example"
    assert "s3cret" not in str(seen)
    await counter.get(path, 403, who="dispatcher")
    await counter.post(f"{path}/request", status=202, who="dispatcher")
    again = await counter.put(path, {"url": made["url"], "mapping": made["mapping"], "every": made["every"]})
    assert again["mapping"] == made["mapping"]
    await counter.call("DELETE", path, 204)
    await counter.call("DELETE", path, 404)
    await counter.post(f"{path}/request", status=404)


@pytest.mark.parametrize(
    "change",
    [
        {"url": "file:///etc/passwd"},
        {"every": "PT1S"},
        {"every": "P1M"},
        {"every": "P100D"},
        {"mapping": {"start": "/a"}},
        {"mapping": {"start": "a", "value": "/b"}},
        {"mapping": {"start": "/a", "value": "/b", "layout": "cubes"}},
        {"mapping": {"start": "/a", "value": "/b", "time_zone": "Nowhere"}},
        {"mapping": {"start": "/a", "value": "/b", "headers": {"Authorization": "HOME"}}},
        {"mapping": {"start": "/a", "value": "/b", "lowest": "5", "highest": "4"}},
    ],
)
async def test_an_odd_source_is_refused(counter, change):
    tariff_id = await make(counter)
    await counter.put(f"/v1/tariffs/{tariff_id}/source", SOURCE | change, 422)
    assert await counter.world.rows("tariff_source") == []


async def test_price_signals_of_a_programme(counter, hours):
    ven = await counter.world.ven()
    game = await counter.world.programme(ven)
    tariff_id = await make(counter)
    await put(counter, tariff_id, hours(NOON, "0.1", "0.2"))
    await PriceSignals(counter.world.db, counter.world.clock).turn()
    path = f"/v1/programmes/{game.id}/price-signals"
    found = await counter.get(path, who="viewer")
    assert found["enabled"] is True
    assert (found["days"][0]["electricity_id"], found["days"][0]["known_until"]) == (tariff_id, z(NOON + 2 * HOUR))
    assert len(found["days"][0]["dispatch_ids"]) == 1
    assert (await counter.put(path, {"enabled": False}))["enabled"] is False
    await counter.get("/v1/programmes/prg_none/price-signals", 404)
    await counter.put("/v1/programmes/prg_none/price-signals", {"enabled": False}, 404)


async def test_a_household_reads_its_own_tariffs_and_nobody_elses(counter, hours, street):
    mine, other = await counter.world.ven(), await counter.world.ven()
    await street.home(mine, area="north", household="household")
    await street.home(other, area="south")
    for area, amount in (("north", "0.1"), ("south", "0.9")):
        await put(counter, await make(counter, area=area), hours(NOON, amount, amount))
    await put(counter, await make(counter, kind="network"), hours(NOON, "0.05", "0.06"))
    counter.world.later(minutes=10)
    (found,) = (await counter.get("/v1/household/tariffs", who="household"))["items"]
    assert (found["ven_id"], found["area"]) == (mine.ven_id, "north")
    by_kind = {one["kind"]: one for one in found["tariffs"]}
    assert by_kind["electricity"]["current"] == {"start": z(NOON), "end": z(NOON + HOUR), "per_kwh": "0.1"}
    assert by_kind["network"]["next"]["per_kwh"] == "0.06"
    assert [one["per_kwh"] for one in found["totals"][0]["prices"]] == ["0.15", "0.16"]
    assert "0.9" not in str(found)
    await counter.get(f"/v1/vens/{other.ven_id}/tariffs", 403, who="household")
    await counter.get(f"/v1/vens/{mine.ven_id}/tariffs", 403, who="household")
    await counter.get("/v1/household/tariffs", 403, who="admin")
    assert (await counter.get(f"/v1/vens/{mine.ven_id}/tariffs", who="viewer")) == found
    south = await counter.get(f"/v1/vens/{other.ven_id}/tariffs?from={z(NOON)}&until={z(NOON + HOUR)}", who="viewer")
    assert [one["prices"][0]["per_kwh"] for one in south["tariffs"] if one["kind"] == "electricity"] == ["0.9"]
    await counter.get("/v1/vens/nobody/tariffs", 404, who="viewer")
    await counter.get(f"/v1/household/tariffs?until={z(NOON + timedelta(days=400))}", 422, who="household")


async def test_a_token_for_the_household_of_a_ven_can_be_made(counter, hours):
    mine, other = await counter.world.ven(), await counter.world.ven()
    await put(counter, await make(counter), hours(NOON, "0.1"))
    path = f"/v1/vens/{mine.ven_id}/household-tokens"
    await counter.post(path, {}, 403, who="dispatcher")
    await counter.post("/v1/vens/nobody/household-tokens", {}, 404)

    created = await counter.post(path, {"days": 30})

    assert created["principal"]["role"] == "household"
    counter.tokens["mine"] = created["token"]
    assert [home["ven_id"] for home in (await counter.get("/v1/household/tariffs", who="mine"))["items"]] == [
        mine.ven_id
    ]
    await counter.get(f"/v1/vens/{other.ven_id}/tariffs", 403, who="mine")
    await counter.post(path, {}, 409)
    again = await counter.post(path, {"name": "second phone", "days": None})
    counter.tokens["second"] = again["token"]
    assert (await counter.get("/v1/household/tariffs", who="second"))["items"][0]["ven_id"] == mine.ven_id
    assert {entry["action"] for entry in await counter.audit()} >= {"create household", "create principal"}


async def test_a_household_without_home_has_no_tariffs(counter, hours):
    await counter.world.ven()
    await put(counter, await make(counter), hours(NOON, "0.1"))
    assert (await counter.get("/v1/household/tariffs", who="household"))["items"] == []


_ALL = [inspect_handler(one) for one in OPERATIONS]


async def test_each_operation_asks_for_its_role(counter):
    for told in _ALL:
        path = told.description.path
        for name in ("tariff_id", "programme_id", "ven_id"):
            path = path.replace(f"{{{name}}}", "nothing")
        for who in (None, *Role):
            headers = {} if who is None else {"Authorization": f"Bearer {counter.tokens[who]}"}
            async with counter.client.request(told.description.method, path, headers=headers) as answer:
                allowed = who is not None and any(who.includes(role) for role in told.description.roles)
                expected = {200, 404, 415, 422} if allowed else {401} if who is None else {403}
                assert answer.status in expected, (told.id, who)


def test_changes_need_an_administrator_and_readers_a_viewer():
    roles = {one.id: one.description.roles for one in _ALL}
    odd = {
        "read_tariff_source": (Role.ADMIN,),
        "request_tariff_source": (Role.DISPATCHER,),
        "read_own_tariffs": (Role.HOUSEHOLD,),
    }
    usual = {one.id: (Role.VIEWER,) if one.description.method == "GET" else (Role.ADMIN,) for one in _ALL}
    assert roles == usual | odd


async def test_every_change_is_in_the_audit(counter, hours):
    game = await counter.world.programme()
    tariff_id = await make(counter)
    await put(counter, tariff_id, hours(NOON, "0.1"))
    await counter.put(f"/v1/tariffs/{tariff_id}/source", SOURCE)
    await counter.post(f"/v1/tariffs/{tariff_id}/source/request", status=202, who="dispatcher")
    await counter.call("DELETE", f"/v1/tariffs/{tariff_id}/source", 204)
    await counter.put(f"/v1/programmes/{game.id}/price-signals", {"enabled": False})
    await counter.post(f"/v1/tariffs/{tariff_id}/retirement", status=200)
    told = [(row["action"], row["who"]) for row in reversed(await counter.audit()) if row["who"] in counter.tokens]
    assert told == [
        ("create tariff", "admin"),
        ("put prices", "admin"),
        ("tariff source", "admin"),
        ("ask tariff source", "dispatcher"),
        ("remove tariff source", "admin"),
        ("price signals", "admin"),
        ("retire tariff", "admin"),
    ]
    changing = [one.id for one in _ALL if one.description.method != "GET"]
    assert len(changing) == len(told)


def test_the_document_is_valid():
    document = Api("tariffs", "1", OPERATIONS).document()
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_schemathesis_finds_no_difference(counter, hours, street):
    ven = await counter.world.ven()
    game = await counter.world.programme(ven)
    await street.home(ven, area="north", household="household")
    tariff_id = await make(counter)
    await put(counter, tariff_id, hours(NOON, "0.1", "0.2"))
    await counter.put(f"/v1/tariffs/{tariff_id}/source", SOURCE)
    known = {"tariff_id": tariff_id, "programme_id": game.id, "ven_id": ven.ven_id}
    base = str(counter.client.make_url(""))
    schema = schemathesis.openapi.from_dict(await (await counter.client.get("/openapi.json")).json())
    draw_times_that_apis_take()
    schema.config.generation.update(modes=list(schemathesis.GenerationMode), allow_x00=False)
    conforms = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]
    seen = set()
    quickly = settings(max_examples=4, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))

    def drive(operation):
        def call(case, checks):
            who = "household" if case.path == "/v1/household/tariffs" else "admin"
            response = case.call(base_url=base, headers={"Authorization": f"Bearer {counter.tokens[who]}"})
            seen.add(response.status_code)
            case.validate_response(response, checks=checks)

        @given(case=operation.as_strategy())
        @quickly
        def anything(case):
            call(case, [*conforms, negative_data_rejection])

        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE))
        @quickly
        def on_what_is_there(case):
            case.path_parameters.update({name: known[name] for name in case.path_parameters})
            call(case, conforms)

        anything()
        on_what_is_there()

    def drive_all():
        ours = {one.description.path for one in _ALL}
        operations = [one for one in (result.ok() for result in schema.get_all_operations()) if one.path in ours]
        for one in sorted(
            operations, key=lambda one: (one.method.upper() == "DELETE", one.path.endswith("retirement"))
        ):
            drive(one)

    await asyncio.to_thread(drive_all)
    assert seen >= {200, 404, 422}
