"""Powers agreed with VENs: entered, kept by day, and what results make of them."""

from datetime import date, timedelta

import pytest

from core.errors import InvalidError, NotFoundError
from metrics import AgreedProfile
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON, power
from vtn.services import agreed, evaluation

START = NOON + timedelta(hours=1)
PROFILE = AgreedProfile(date(2020, 1, 1), (1000,), (700,))


async def agree(world, *ven_ids, method="fixed-profile", profile=PROFILE):
    async with world.tx() as tx:
        return await agreed.agree(tx, ven_ids, method, profile, world.now, who="operator")


async def called(world, preset="fixed-profile"):
    """Return a VEN without history that used 60 W on average in an event that ordered 200 W, and the dispatch."""
    ven, wish, _ = await metered_ven(world, 1, days=1)
    rules = {"baseline": preset, "settlement_interval": HALF}
    dispatch_id = await world.dispatch(ven, signals=(power(-200.0, each=HALF),), rules=rules)
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=START + timedelta(hours=1))
    await send(ven, wish, NOON, 100.0, 100.0, 30.0, 30.0)
    return ven, dispatch_id


async def result_of(world, dispatch_id):
    (row,) = (await evaluation.evaluate(world.db, dispatch_id, world.now)).vens
    return row


async def test_what_was_agreed_is_the_baseline(any_world):
    """1,000 W agreed, 60 W used in half an hour: 470 Wh."""
    ven, dispatch_id = await called(any_world)
    await agree(any_world, ven.ven_id)
    row = await result_of(any_world, dispatch_id)
    assert [one.baseline_w for one in row.intervals] == [1000.0]
    assert (row.delivered_wh, row.counts, row.days_used) == (470.0, True, ())


async def test_without_an_agreement_the_result_says_so_and_follows_it(world):
    ven, dispatch_id = await called(world)
    before = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert before.delivered_wh is None
    assert before.why_unknown == "Not known of 1 of 1 VENs called: 1 lacks an agreed baseline."
    assert "agreed for this home" in before.vens[0].why_unknown
    await agree(world, ven.ven_id)
    after = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert (after.version, after.delivered_wh) == (2, 470.0)
    await agree(world, ven.ven_id)  # the same again
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).version == 2


async def test_what_begins_later_changes_no_result(world):
    ven, dispatch_id = await called(world)
    await agree(world, ven.ven_id)
    await result_of(world, dispatch_id)
    later = AgreedProfile(NOON.date() + timedelta(days=1), (5000,))
    await agree(world, ven.ven_id, profile=later)
    again = await evaluation.evaluate(world.db, dispatch_id, world.now)
    assert (again.version, again.delivered_wh) == (1, 470.0)
    async with world.db.read() as conn:
        assert [row.profile for row in await agreed.of_ven(conn, ven.ven_id)] == [PROFILE, later]


async def test_the_same_first_day_is_replaced(world):
    ven = await world.ven()
    other = AgreedProfile(PROFILE.valid_from, (5,))
    for profile in (PROFILE, other):
        assert await agree(world, ven.ven_id, ven.ven_id, profile=profile) == 1
    async with world.db.read() as conn:
        (row,) = await agreed.of_ven(conn, ven.ven_id)
        assert (row.method, row.profile, row.created_by) == ("fixed-profile", other, "operator")
        assert await agreed.of_each(conn, ["fixed-profile"], [ven.ven_id], NOON.date()) == {
            ven.ven_id: {"fixed-profile": (other,)}
        }
        assert await agreed.of_each(conn, ["firm-level"], [ven.ven_id], NOON.date()) == {}
        assert await agreed.of_each(conn, [], [ven.ven_id], NOON.date()) == {}
    assert sum(row.action == "agree baseline" for row in await world.rows("audit")) == 2


@pytest.mark.parametrize(
    ("method", "profile"),
    [
        ("10of10", PROFILE),
        ("nonsense", PROFILE),
        ("firm-level", PROFILE),  # weekends differ
        ("fixed-profile", AgreedProfile(date(1999, 12, 31), (5,))),
    ],
)
async def test_what_makes_no_sense_is_refused(world, method, profile):
    ven = await world.ven()
    with pytest.raises(InvalidError):
        await agree(world, ven.ven_id, method=method, profile=profile)


async def test_all_vens_named_are_there_or_nothing_is_entered(world):
    ven = await world.ven()
    with pytest.raises(NotFoundError):
        await agree(world, ven.ven_id, "nobody")
    async with world.db.read() as conn:
        assert await agreed.of_ven(conn, ven.ven_id) == []
        with pytest.raises(NotFoundError):
            await agreed.of_ven(conn, "nobody")
