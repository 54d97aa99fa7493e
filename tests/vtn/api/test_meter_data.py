"""Validated meter data and disputes by the operator API."""

from vtn.services import site

GOOD = {
    "metering_point": "MP1", "series": "import", "start": "2026-01-12T10:00:00Z", "end": "2026-01-12T10:15:00Z",
    "energy_wh": "250.5", "quality": "validated",
}  # fmt: skip


async def test_meter_data_comes_as_rows_or_csv_and_is_settled(office):
    home = await office.world.ven("home")
    async with office.world.tx() as tx:
        where = {"time_zone": "UTC", "area": None, "metering_point": "MP1"}
        await site.set_site(tx, home.ven_id, **where, now=office.world.now, who="test")
    body = {"rows": [GOOD, {**GOOD, "quality": "perfect"}]}
    assert await office.post("/v1/meter-data", body, 200) == {
        "accepted": 1,
        "vens": 1,
        "refused": [{"line": 2, "reason": "Its quality is none of validated, substituted, estimated."}],
    }
    text = f"{','.join(GOOD)}\n{','.join({**GOOD, 'series': 'export'}.values())}\nx\n"
    assert (await office.post("/v1/meter-data", {"csv": text}, 200))["refused"] == [
        {"line": 3, "reason": "It has 1 fields, not 6."}
    ]
    basis = await office.get(f"/v1/vens/{home.ven_id}/settlement-series")
    assert basis["notes"] == ["The settlement meter of MP1.", "What is exported is taken off."]
    assert {one["point"]["flow"]: one["settled"] for one in basis["series"]} == {"import": True, "export": True}
    await office.refused("/v1/meter-data", {}, "Send rows, or csv")
    await office.refused("/v1/meter-data", {"rows": [], "csv": ""}, "Send rows, or csv")
    await office.refused("/v1/meter-data", {"csv": "a,b"}, "first line names the columns")
    await office.refused("/v1/meter-data", {"rows": [GOOD] * 5_001}, "/rows")


async def test_only_a_final_result_can_be_disputed(office):
    ven = await office.world.ven()
    programme = await office.programme(ven)
    made = await office.post("/v1/dispatches", office.order(programme))
    path = f"/v1/dispatches/{made['dispatch']['id']}/dispute"
    await office.refused(path, {"reason": "x"}, "not final", 409)
    await office.refused("/v1/dispatches/nothing/dispute", {"reason": "x"}, "No dispatch", 404)
