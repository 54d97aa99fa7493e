"""Which VENs have days enough for a baseline, and from when the others will (vtn.services.learning)."""

from datetime import date, timedelta

from metrics.presets import PRESETS
from support.metered import metered_ven, send
from support.vtn_world import NOON
from vtn.services import learning
from vtn.services.learning import Learning

RULE = PRESETS["10of10"]


async def of(world, *vens):
    ids = [ven.ven_id for ven in vens]
    async with world.db.read() as conn:
        return list((await learning.of_vens(conn, ids, RULE, "UTC", world.now)).values())


async def test_a_home_with_history_is_ready_and_one_without_says_when_it_will_be(any_world):
    world = any_world
    old, fresh, silent = (
        (await metered_ven(world, 1, days=20))[0], (await metered_ven(world, 2, days=2))[0], await world.ven()
    )  # fmt: skip
    # It is Monday, 12 January, noon: of Saturday and Sunday none is a weekday; Monday to Friday are five.
    assert await of(world, old, fresh, silent) == [
        Learning(5, 5, date(2026, 1, 12)),
        Learning(0, 5, date(2026, 1, 19)),
        Learning(0, 5, None),
    ]
    assert [one.state for one in await of(world, old, fresh, silent)] == ["ready", "learning", "unheard"]


async def test_half_a_day_is_no_day(world):
    ven, _, _ = await metered_ven(world, 3, days=4)  # from Thursday noon on: Friday is whole
    assert (await of(world, ven))[0].days == 1


async def test_days_of_events_do_not_count(world):
    ven, wish, _ = await metered_ven(world, 4, days=6)  # from Tuesday noon on: Wednesday to Friday are whole
    assert (await of(world, ven))[0].ready_on == date(2026, 1, 14), "Monday and Tuesday are to come"
    await world.dispatch(ven, starts_in=timedelta(hours=1))  # on Monday
    assert (await of(world, ven))[0].ready_on == date(2026, 1, 15), "a result of today says the same"
    world.clock.advance(to=NOON + timedelta(days=2))
    await send(ven, wish, NOON, *[100.0] * 96)
    (after,) = await of(world, ven)
    assert (after.days, after.ready_on) == (4, date(2026, 1, 15)), "Tuesday counts, Monday does not"


async def test_a_programme_says_when_the_last_one_is_ready(world):
    old, fresh, silent = (
        (await metered_ven(world, 5))[0], (await metered_ven(world, 6, days=6))[0], await world.ven()
    )  # fmt: skip
    made = await world.programme(old, fresh, silent)
    async with world.db.read() as conn:
        found = await learning.of_programme(conn, made, world.now)
    assert (found.vens, found.ready, found.learning, found.unheard) == (3, 1, 1, 1)
    assert found.ready_on == date(2026, 1, 14)  # Wednesday to Friday are there; Monday and Tuesday are to come
    assert learning.shown(found)["ready_on"] == "2026-01-14"
