"""The fleet over REST: listing, groups, areas, bulk actions."""

from support.vtn_world import HOUR, usage


async def ids(office, **query):
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return [one["name"] for one in (await office.get(f"/v1/fleet?{text}"))["items"]]


async def test_vens_are_listed_by_name_and_filtered(office):
    a, b = await office.world.ven("anna"), await office.world.ven("bert", register=False)
    await office.world.directory.flush_seen()
    (first,) = (await office.get("/v1/fleet?limit=1"))["items"]
    assert (first["ven_id"], first["presence"], first["registered"]) == (a.ven_id, "online", True)
    page = await office.get("/v1/fleet?limit=1")
    assert [one["ven_id"] for one in (await office.get(f"/v1/fleet?cursor={page['next']}"))["items"]] == [b.ven_id]
    assert await ids(office, text="ERT") == ["bert"]
    assert await ids(office, presence="offline") == ["bert"]
    assert await ids(office, registered="true") == ["anna"]
    assert await ids(office, certificate_before="2031-01-01T00:00:00Z") == []
    assert await office.get("/v1/fleet/counts") == {
        "unreachable": 0,
        "online": 1, "offline": 1, "stale": 0, "registered": 1, "waiting": 0
    }  # fmt: skip
    await office.get("/v1/fleet?presence=elsewhere", 422)
    await office.get("/v1/fleet?cursor=nonsense", 422)
    await office.get(f"/v1/groups?cursor={page['next']}", 422)  # a cursor is of its listing


async def test_groups_have_a_life(office):
    ven = await office.world.ven("anna")
    made = await office.post("/v1/groups", {"name": "north"})
    await office.refused("/v1/groups", {"name": "north"}, "already", 409)
    await office.refused("/v1/groups", {"name": ""}, "/name")
    path = f"/v1/groups/{made['id']}"
    action = {"ven_ids": [ven.ven_id], "group_id": made["id"]}
    answer = await office.post("/v1/fleet/actions", {"action": "add_to_group", **action}, 200)
    assert answer == {"changed": 1, "unable": []}
    assert await ids(office, group_id=made["id"]) == ["anna"]
    assert (await office.call("PUT", path, 200, {"name": "south"}))["members"] == 1
    assert (await office.get("/v1/groups"))["items"] == [{"id": made["id"], "name": "south", "members": 1}]
    await office.post("/v1/fleet/actions", {"action": "remove_from_group", **action}, 200)
    assert await ids(office, group_id=made["id"]) == []
    await office.call("DELETE", path, 204)
    await office.call("DELETE", path, 404)
    told = [row["action"] for row in await office.audit()]
    for done in ("create group", "add to group", "rename group", "remove from group", "delete group"):
        assert told.count(done) == 1


async def test_areas_are_set_and_listed(office):
    ven = await office.world.ven("anna")
    path = f"/v1/vens/{ven.ven_id}/site"
    assert await office.get(path) is None
    body = {"action": "set_area", "ven_ids": [ven.ven_id], "area": "F1"}
    assert (await office.post("/v1/fleet/actions", body, 200))["changed"] == 1
    assert (await office.get("/v1/areas"))["items"] == [{"area": "F1", "vens": 1}]
    assert await ids(office, area="F1") == ["anna"]
    assert await office.get(path) == {"time_zone": "UTC", "area": "F1", "metering_point": None}
    site = {"time_zone": "Europe/Athens", "area": None, "metering_point": "EAN 1"}
    assert await office.call("PUT", path, 200, site) == site
    await office.call("PUT", path, 422, site | {"time_zone": "Mars/Base"})
    await office.call("PUT", "/v1/vens/nobody/site", 404, site)
    await office.get("/v1/vens/nobody/site", 404)


async def test_the_levels_at_which_a_ven_can_be_called(office):
    ven = await office.world.ven()
    path = f"/v1/vens/{ven.ven_id}/partial-power"
    assert await office.get(path) is None
    levels = {"minimum_w": 1380, "step_w": 230}
    assert await office.call("PUT", path, 200, levels) == levels
    assert await office.get(path) == levels
    for wrong in ({"minimum_w": 1400}, {"step_w": 1500}, {"step_w": 0}, {"minimum_w": 2**31}, {"step_w": None}):
        await office.call("PUT", path, 422, levels | wrong)
    assert await office.get(path) == levels
    await office.call("DELETE", path, 204)
    assert await office.get(path) is None
    for method, body in (("PUT", levels), ("DELETE", None), ("GET", None)):
        await office.call(method, "/v1/vens/nobody/partial-power", 404, body)


async def test_a_bulk_action_is_all_or_nothing(office):
    ven = await office.world.ven("anna")
    body = {"action": "set_area", "ven_ids": [ven.ven_id, "nobody"], "area": "F1"}
    await office.refused("/v1/fleet/actions", body, "nobody", 404)
    assert (await office.get("/v1/areas"))["items"] == []
    named = {"ven_ids": [ven.ven_id]}
    await office.refused("/v1/fleet/actions", {"action": "add_to_group", **named}, "group_id")
    await office.refused("/v1/fleet/actions", {"action": "request_report", **named}, "report")
    await office.refused("/v1/fleet/actions", {"action": "explode", **named}, "/action")
    await office.refused("/v1/fleet/actions", {"action": "set_area", "ven_ids": []}, "/ven_ids")
    await office.refused("/v1/fleet/actions", {"action": "add_to_group", "group_id": "no", **named}, "No group", 404)


async def test_reports_are_asked_of_many(office):
    a, b = await office.world.ven("anna"), await office.world.ven("bert")
    await a.offer(usage("meter", duration=HOUR))
    body = {"action": "request_report", "ven_ids": [a.ven_id, b.ven_id], "report": "TELEMETRY_USAGE"}
    answer = await office.post("/v1/fleet/actions", body, 200, who="dispatcher")
    assert answer == {"changed": 1, "unable": [b.ven_id]}
