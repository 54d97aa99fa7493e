"""Powers agreed with VENs, over REST."""

BODY = {"method": "fixed-profile", "valid_from": "2026-01-31", "weekdays_w": [350] * 24}


async def test_what_was_agreed_is_listed_by_its_first_day(office):
    ven, other = await office.world.ven(), await office.world.ven()
    named = {"ven_ids": [ven.ven_id, other.ven_id]}
    assert await office.post("/v1/agreed-baselines", BODY | named, 200) == {"vens": 2}
    level = {"method": "firm-level", "valid_from": "2025-01-01", "weekdays_w": [3000], "weekends_w": [3000]}
    await office.post("/v1/agreed-baselines", level | {"ven_ids": [ven.ven_id]}, 200)
    path = f"/v1/vens/{ven.ven_id}/agreed-baselines"
    first, second = (await office.get(path))["items"]
    assert {name: first[name] for name in level} == level
    assert {name: second[name] for name in BODY} == BODY
    assert second["weekends_w"] == []
    page = await office.get(f"{path}?limit=1")
    assert (await office.get(f"{path}?cursor={page['next']}"))["items"] == [second]


async def test_what_makes_no_sense_is_refused(office):
    ven = await office.world.ven()
    good = BODY | {"ven_ids": [ven.ven_id]}
    for wrong, where in (
        ({"method": "10of10"}, "/method"),
        ({"valid_from": "2026-02-30"}, "valid_from"),
        ({"valid_from": "tomorrow"}, "/valid_from"),
        ({"weekdays_w": []}, "/weekdays_w"),
        ({"weekdays_w": [1, 2]}, "weekdays_w"),
        ({"weekdays_w": [2**40]}, "/weekdays_w"),
        ({"weekdays_w": [1.5]}, "/weekdays_w"),
        ({"weekends_w": [1] * 289}, "/weekends_w"),
        ({"ven_ids": []}, "/ven_ids"),
        ({"method": "firm-level", "weekdays_w": list(range(24))}, "weekdays_w"),
    ):
        await office.refused("/v1/agreed-baselines", good | wrong, where)
    await office.refused("/v1/agreed-baselines", good | {"ven_ids": ["nobody"]}, "nobody", 404)
    await office.get("/v1/vens/nobody/agreed-baselines", 404)
