"""Holidays and outages by the operator API."""

CHRISTMAS = {"day": "2026-12-24", "name": "Christmas Eve"}
CUT = {"starts_at": "2026-01-05T10:00:00Z", "reason": "Cable damaged"}


async def test_holidays_are_those_of_the_country_and_ones_own(office):
    programme = await office.programme(country="DE", subdivision="BY")
    path = f"/v1/programmes/{programme}/holidays"
    found = await office.get(path)
    assert (found["year"], found["country"], found["subdivision"]) == (2026, "DE", "BY")
    assert {"day": "2026-05-01", "name": "Labor Day", "own": False, "public": "Labor Day"} in found["days"]
    assert {"day": "2026-01-06", "name": "Epiphany", "own": False, "public": "Epiphany"} in found["days"]
    assert await office.post(path, CHRISTMAS) == {**CHRISTMAS, "own": True, "public": None}
    assert {**CHRISTMAS, "own": True, "public": None} in (await office.get(f"{path}?year=2026"))["days"]
    assert CHRISTMAS["day"] not in {one["day"] for one in (await office.get(f"{path}?year=2027"))["days"]}
    await office.refused(path, CHRISTMAS, "already", 409)
    await office.refused(path, {"day": "2026-02-30", "name": "x"}, "/day")
    await office.refused(path, {"day": "2026-12-23", "name": "   "}, "1 to 80 characters")
    await office.refused(path, {"day": "9999-12-31", "name": "x"}, "2000 to 2100")
    await office.refused(path, {"day": "2026-12-24", "name": "a\nb"}, "/name")
    await office.get(f"{path}?year=1", 422)
    await office.call("DELETE", f"{path}/2026-12-24", 204)
    await office.call("DELETE", f"{path}/2026-12-24", 404)
    await office.call("DELETE", f"{path}/2026-05-01", 404)
    audited = [(one["who"], one["action"]) for one in await office.audit() if one["subject"] == programme]
    assert sorted(audited) == [("admin", "add holiday"), ("admin", "remove holiday")]


async def test_outages_are_entered_ended_listed_and_removed(office):
    home = await office.world.ven("home")
    made = await office.post("/v1/outages", {**CUT, "ven_id": home.ven_id})
    assert (made["ven_id"], made["area"], made["ends_at"], made["created_by"]) == (home.ven_id, None, None, "admin")
    everywhere = await office.post("/v1/outages", {**CUT, "ends_at": "2026-01-05T11:00:00Z"})
    listed = await office.get("/v1/outages?limit=1")
    assert [one["id"] for one in listed["items"]] == [everywhere["id"]]
    assert [one["id"] for one in (await office.get(f"/v1/outages?cursor={listed['next']}"))["items"]] == [made["id"]]
    path = f"/v1/outages/{made['id']}"
    await office.post(f"{path}/end", {"ends_at": "2026-01-05T09:00:00Z"}, 422)
    ended = await office.post(f"{path}/end", {"ends_at": "2026-01-05T12:00:00Z"}, 200)
    assert ended["ends_at"] == "2026-01-05T12:00:00Z"
    await office.post(f"{path}/end", {"ends_at": "2026-01-05T12:00:00Z"}, 409)
    await office.call("DELETE", path, 204)
    await office.call("DELETE", path, 404)
    await office.refused("/v1/outages", {**CUT, "area": "nowhere"}, "No VEN stands", 404)
    await office.refused("/v1/outages", {**CUT, "ven_id": "x", "area": "y"}, "or of everybody")
    actions = {one["action"] for one in await office.audit() if one["subject"] == made["id"]}
    assert actions == {"add outage", "end outage", "remove outage"}
