"""Programmes: what they fix, and who takes part from when to when."""

from metrics.presets import PRESETS
from support.metered import metered_ven

LIMITS = {
    "per_day": 1,
    "per_week": 3,
    "per_season": 20,
    "rest": "PT6H",
    "shortest": "PT30M",
    "longest": "PT4H",
    "windows": [{"start": "16:00", "end": "20:00", "days": [1, 2, 3, 4, 5]}],
    "seasons": ["05-01", "11-01"],
}


async def test_limits_and_rewards_are_kept_as_they_were_written(office):
    reward = {"currency": "GBP", "per_kwh": "0.25", "per_call": "1"}
    programme_id = await office.programme(limits=LIMITS, reward=reward, product="evening")
    parameters = (await office.get(f"/v1/programmes/{programme_id}"))["parameters"]
    assert parameters["limits"] == LIMITS
    assert parameters["reward"] == reward
    assert parameters["product"] == "evening"


async def test_odd_limits_are_refused(office):
    for parameters, text in (
        ({"limits": {"per_day": -1}}, "/parameters/limits/per_day"),
        ({"limits": {"rest": "P1M"}}, "limits.rest"),
        ({"limits": {"rest": "-PT1H"}}, "limits.rest"),
        ({"limits": {"shortest": "PT2H", "longest": "PT1H"}}, "longer than the longest"),
        ({"limits": {"windows": [{"start": "24:00", "end": "01:00"}]}}, "/parameters/limits/windows/0/start"),
        ({"limits": {"windows": [{"start": "10:00", "end": "11:00", "days": [8]}]}}, "/days/0"),
        ({"limits": {"seasons": ["02-30"]}}, "/seasons/0"),
        ({"limits": {"seasons": []}}, "/seasons"),
        ({"settlement_interval": "PT7M"}, "not one of PT5M, PT15M, PT30M, PT1H"),
        ({"settlement_interval": "P1M"}, "settlement_interval P1M is not one of"),
        ({"time_zone": "Asia/Kathmandu", "settlement_interval": "PT30M"}, "not a multiple of PT30M"),
        ({"time_zone": "Asia/Kolkata", "settlement_interval": "PT1H"}, "choose a shorter one"),
        ({"country": "XX"}, "country 'XX' is no country"),
        ({"country": "germany"}, "/parameters/country"),
        ({"country": "DE", "subdivision": "XX"}, "subdivision 'XX' is no part of DE"),
        ({"subdivision": "BY"}, "belongs to a country"),
        ({"baseline": "control-group"}, "control_group 'control-group' holds homes against a control group; name"),
        ({"control_group": "nobody"}, "control_group There is no group 'nobody'"),
        ({"control_group": ""}, "/parameters/control_group"),
        ({"reward": {"currency": "euro"}}, "/reward/currency"),
        ({"reward": {"per_kwh": "-1"}}, "/reward/per_kwh"),
    ):
        body = {"name": "P", "market_context": "http://grid/odd", "parameters": parameters}
        await office.refused("/v1/programmes", body, text)
    assert (await office.get("/v1/programmes"))["items"] == []


async def test_the_settlement_interval_is_kept_and_a_quarter_of_an_hour_unless_said(office):
    for given, kept in (
        ({}, "PT15M"),
        ({"time_zone": "Asia/Kathmandu"}, "PT15M"),
        ({"settlement_interval": "PT30M"}, "PT30M"),
        ({"settlement_interval": "PT5M", "time_zone": "Asia/Kathmandu"}, "PT5M"),
    ):
        programme_id = await office.programme(**given)
        assert (await office.get(f"/v1/programmes/{programme_id}"))["parameters"]["settlement_interval"] == kept


async def test_an_enrolment_notes_the_consent_and_can_end(office):
    home = await office.world.ven("home")
    programme_id = await office.programme()
    path = f"/v1/programmes/{programme_id}/enrolments"
    body = {"ven_ids": [home.ven_id, home.ven_id], "consent_version": "2026-01"}
    assert await office.post(path, body, 200) == {"ven_ids": [home.ven_id]}
    assert await office.post(path, body, 200) == {"ven_ids": [home.ven_id]}
    made = [one for one in await office.audit() if one["action"] == "enrol"]
    assert [one["after"] for one in made] == [{"consent": "2026-01"}]
    office.world.later(hours=1)
    await office.call("DELETE", f"{path}/{home.ven_id}", 204)
    assert await office.get(path) == {"ven_ids": []}
    await office.call("DELETE", f"{path}/{home.ven_id}", 404)
    assert await office.post(path, body, 200) == {"ven_ids": [home.ven_id]}


async def test_a_removed_ven_takes_part_no_longer(office):
    home = await office.world.ven("home")
    programme_id = await office.programme(home)
    await office.call("DELETE", f"/v1/vens/{home.ven_id}", 204)
    office.world.later(hours=1)
    assert await office.get(f"/v1/programmes/{programme_id}/enrolments") == {"ven_ids": []}
    await office.refused(f"/v1/programmes/{programme_id}/enrolments", {"ven_ids": [home.ven_id]}, "was removed", 409)


async def test_presets_are_compared_on_the_programmes_own_homes(office):
    ven, _, _ = await metered_ven(office.world, 1)
    programme_id = await office.programme(ven, baseline="high5of10")
    path = f"/v1/programmes/{programme_id}/baselines"
    found = await office.get(f"{path}?start=17:00&duration=PT1H", who="viewer")
    assert (found["enrolled"], found["vens"], found["in_use"], found["days"]) == (1, 1, "high5of10", "weekday")
    assert {one["preset"] for one in found["presets"]} == set(PRESETS)
    asked = [one for one in found["presets"] if one["why_unknown"] is None]
    errors = [one["pool_rmse"] for one in asked]
    assert errors == sorted(errors)
    assert all(one["days"] > 0 and one["homes"] == 1 and one["citation"] for one in asked)
    bare = {one["preset"]: one["why_unknown"] for one in found["presets"][len(asked) :]}
    assert bare == {
        "nominated": "nothing nominated for days past",
        "fixed-profile": "nothing agreed",
        "firm-level": "nothing agreed",
        "control-group": "no control group",
        "weather-5": "too few temperatures",
        "time-of-week-temperature": "too few temperatures",
    }


async def test_without_homes_the_presets_errors_are_not_known(office):
    path = f"/v1/programmes/{await office.programme()}/baselines"
    found = await office.get(f"{path}?start=06:30&duration=PT30M&days=weekend")
    assert [(one["days"], one["bias"], one["pool_rmse"], one["home_rmse"]) for one in found["presets"]] == [
        (0, None, None, None)
    ] * len(PRESETS)
    await office.get("/v1/programmes/prg_nothing/baselines?start=17:00&duration=PT1H", 404)
    hour = "start=17:00&duration="
    for query in ("", "start=17:00", "start=24:00&duration=PT1H", f"{hour}PT0S", f"{hour}P2D", f"{hour}P1M",
                  f"{hour}PT1H&days=holiday"):  # fmt: skip
        await office.get(f"{path}?{query}", 422)


async def test_a_control_group_is_named_by_name_or_id(office):
    group = await office.post("/v1/groups", {"name": "left alone"})
    for named in ("left alone", group["id"]):
        programme_id = await office.programme(baseline="control-group", control_group=named)
        parameters = (await office.get(f"/v1/programmes/{programme_id}"))["parameters"]
        assert (parameters["baseline"], parameters["control_group"]) == ("control-group", group["id"])


async def test_a_control_group_is_drawn_by_chance(office):
    vens = [await office.world.ven(f"home {number}", register=False) for number in range(20)]
    programme_id = await office.programme(*vens)
    path = f"/v1/programmes/{programme_id}/control-group"
    await office.refused(path, {"share": 10}, "a control group needs 10 at least")
    await office.refused(path, {"share": 60}, "/share")
    drawn = await office.post(path, {"share": 50, "seed": 3, "name": "left alone"})
    assert (drawn["members"], drawn["enrolled"], drawn["seed"], drawn["programme_version"]) == (10, 20, 3, 2)
    assert drawn["group"] == "left alone"
    parameters = (await office.get(f"/v1/programmes/{programme_id}"))["parameters"]
    assert parameters["control_group"] == drawn["group_id"]
    await office.refused(path, {"share": 50}, "has a control group already", 409)
    await office.refused("/v1/programmes/prg_nothing/control-group", {"share": 50}, "No programme", 404)
