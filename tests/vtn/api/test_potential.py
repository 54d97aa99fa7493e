"""Flexibility potential over REST: in force with age and source, and what was."""

from vtn.services import potential
from vtn.services.potential import Brought, Figures


async def give(office, ven, *p50, source="ven"):
    now = office.world.now
    figures = Figures("home", "reduce", int(now.timestamp()), 1800, (0.0,) * len(p50), p50, p50)
    async with office.world.tx() as tx:
        if source == "ven":
            await potential.store(tx, ven.ven_id, Brought((figures,), {}, now), now)
        else:
            await potential.derived(tx, ven.ven_id, [figures], now)


async def test_what_is_in_force_has_age_and_source(office):
    ven = await office.world.ven()
    path = f"/v1/vens/{ven.ven_id}/potential"
    assert await office.get(path) == {"items": [], "next": None}
    await give(office, ven, *[1500.0] * 4, source="history")
    (derived,) = (await office.get(path))["items"]
    assert derived["source"] == "history"
    await give(office, ven, *[1600.0] * 4)
    office.world.later(minutes=10)
    (one,) = (await office.get(path))["items"]
    assert one["source"] == "ven"
    assert (one["age_s"], one["stale"], one["superseded_at"]) == (600, False, None)
    assert (one["start"], one["step"], one["p50_w"]) == ("2026-01-12T12:00:00Z", "PT30M", [1600.0] * 4)
    office.world.later(hours=2)
    (one,) = (await office.get(path))["items"]
    assert one["stale"] is True
    await office.get("/v1/vens/nobody/potential", 404)


async def test_what_was_is_read_page_by_page(office):
    ven = await office.world.ven()
    for hour in range(5):
        await give(office, ven, float(hour))
        office.world.later(hours=1)
    path = f"/v1/vens/{ven.ven_id}/potential?since=2026-01-12T00:00:00Z&limit=2"
    found, cursor = [], ""
    while True:
        page = await office.get(path + cursor)
        found += [one["p50_w"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == [[4.0], [3.0], [2.0], [1.0], [0.0]]
    part = await office.get(f"{path}&until=2026-01-12T13:00:00Z")
    assert [one["p50_w"] for one in part["items"]] == [[0.0]]
    assert part["items"][0]["stale"] is True
    await office.get(f"/v1/vens/{ven.ven_id}/potential?until=2026-01-12T13:00:00Z", 422)
