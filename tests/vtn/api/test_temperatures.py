"""Outdoor temperatures by the operator API."""

from datetime import timedelta

from support.metered import metered_ven
from vtn.services import site

ROW = {"area": None, "time": "2026-01-12T10:00:00Z", "celsius": "-3.5"}


async def test_temperatures_come_as_rows_or_csv_and_are_listed(office):
    home = await office.world.ven("home")
    async with office.world.tx() as tx:
        await site.set_area(tx, [home.ven_id], "north", office.world.now, time_zone="UTC", who="test")
    rows = [ROW, {"time": "2026-01-12T11:00:00Z", "celsius": "2"}, {**ROW, "area": "north"}, {**ROW, "celsius": "cold"}]
    assert await office.post("/v1/temperatures", {"rows": rows}, 200) == {
        "accepted": 3,
        "areas": 2,
        "refused": [{"line": 4, "reason": "Its celsius is no plain number from -100 to 100, such as -3 or 21.5."}],
    }
    text = "area,time,celsius\nnorth,2026-01-12T10:00:00Z,-4\nx\n"
    assert (await office.post("/v1/temperatures", {"csv": text}, 200))["refused"] == [
        {"line": 3, "reason": "It has 1 fields, not 3."}
    ]
    found = await office.get("/v1/temperatures", who="viewer")
    assert [(one["area"], one["time"], one["celsius"]) for one in found["items"]] == [
        (None, "2026-01-12T10:00:00Z", -3.5),
        (None, "2026-01-12T11:00:00Z", 2.0),
        ("north", "2026-01-12T10:00:00Z", -4.0),
    ]
    ids, cursor = [], ""
    while cursor is not None:
        page = await office.get(f"/v1/temperatures?limit=1{cursor and f'&cursor={cursor}'}")
        ids += page["items"]
        cursor = page["next"]
    assert ids == found["items"]
    for query, places in (
        ("area=north", [2]),
        ("area=", [0, 1]),
        ("start=2026-01-12T10:30:00Z", [1]),
        ("end=2026-01-12T10:00:00Z", [0, 2]),
        ("area=south", []),
    ):
        some = await office.get(f"/v1/temperatures?{query}")
        assert some["items"] == [found["items"][place] for place in places]


async def test_neither_or_both_and_too_many_are_refused(office):
    await office.refused("/v1/temperatures", {}, "Send rows, or csv")
    await office.refused("/v1/temperatures", {"rows": [], "csv": ""}, "Send rows, or csv")
    await office.refused("/v1/temperatures", {"csv": "a,b"}, "first line names the columns")
    await office.refused("/v1/temperatures", {"rows": [ROW] * 5_001}, "/rows")
    await office.get("/v1/temperatures?start=yesterday", 422)
    await office.get("/v1/temperatures?cursor=x", 422)
    await office.post("/v1/temperatures", {"rows": []}, 403, who="dispatcher")


async def test_how_a_result_comes_about_says_how_warm_it_was(office):
    world = office.world
    ven, _, _ = await metered_ven(world, 1)
    dispatch_id = await world.dispatch(ven, rules={"baseline": "time-of-week-temperature"})
    world.later(hours=3)
    path = f"/v1/dispatches/{dispatch_id}/result/vens/{ven.ven_id}"
    how = await office.get(path)
    assert (how["celsius"], {one["celsius"] for one in how["days"]}) == (None, {None})
    assert how["adjustment"]["status"] == "by time of week alone: the temperatures do not reach"
    hours = [world.now - timedelta(hours=number) for number in range(31 * 24)]
    lines = [f",{at.isoformat()},{(world.now - at).days}" for at in hours]
    taken = await office.post("/v1/temperatures", {"csv": "\n".join(["area,time,celsius", *lines])}, 200)
    assert taken == {"accepted": len(hours), "areas": 1, "refused": []}
    how = await office.get(path)
    assert (how["celsius"], how["adjustment"]["status"]) == (0, "the rule has none")
    assert [one["celsius"] for one in how["days"][:3]] == [1, 2, 3]
    assert how["days"][-1]["celsius"] is None
