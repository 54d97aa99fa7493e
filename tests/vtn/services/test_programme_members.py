"""A programme's members: who takes part, and the calls that count, in the programme's own time zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.errors import NotFoundError
from support.vtn_world import simple
from vtn.services import dispatch as dispatches
from vtn.services import programme, programme_members
from vtn.services.programme import Limits, Parameters
from vtn.services.programme_members import periods_begin

ATHENS = ZoneInfo("Europe/Athens")


@pytest.mark.parametrize(
    ("now", "day", "week", "season"),
    [
        ("2026-01-12T12:00", "2026-01-11T22:00", "2026-01-11T22:00", "2025-09-30T21:00"),
        ("2026-04-01T00:00", "2026-03-31T21:00", "2026-03-29T21:00", "2026-03-31T21:00"),
        ("2026-03-31T20:59", "2026-03-30T21:00", "2026-03-29T21:00", "2025-09-30T21:00"),
        ("2026-03-29T12:00", "2026-03-28T22:00", "2026-03-22T22:00", "2025-09-30T21:00"),  # the clocks change
    ],
)
def test_periods_begin_at_local_midnight(now, day, week, season):
    when = datetime.fromisoformat(now).replace(tzinfo=UTC)
    expected = tuple(datetime.fromisoformat(one).replace(tzinfo=UTC) for one in (day, week, season))
    assert periods_begin(Limits(), ATHENS, when) == expected


def test_without_seasons_the_year_counts():
    begun = periods_begin(Limits(seasons=()), ZoneInfo("UTC"), datetime(2026, 5, 5, tzinfo=UTC))[2]
    assert begun == datetime(2026, 1, 1, tzinfo=UTC)


async def test_signals_and_what_was_cancelled_in_time_are_no_calls(any_world):
    world = any_world
    ven = await world.ven()
    game = await world.programme(ven)
    await world.dispatch(ven, under=game)
    await world.dispatch(ven, under=game, signals=(simple(1),), direction=None)
    off = await world.dispatch(ven, under=game, starts_in=timedelta(hours=2))
    async with world.tx() as tx:
        await dispatches.cancel(tx, off, world.now, who="test")
    await world.dispatch(ven)
    async with world.db.read() as conn:
        (one,) = await programme_members.members(conn, game, world.now)
    assert (one.calls_day, one.calls_week, one.calls_season) == (1, 1, 1)


async def test_members_come_by_name_with_their_consent_and_go(world):
    vens = [await world.ven(name) for name in ("c", "a", "b")]
    game = await world.programme()
    async with world.tx() as tx:
        ids = [one.ven_id for one in vens]
        await programme.enrol(tx, game.id, ids, world.now, who="test", consent_version="2026-01")
        await programme.end_enrolment(tx, game.id, vens[2].ven_id, world.now, who="test")
    world.later(seconds=1)
    async with world.db.read() as conn:
        found = await programme_members.members(conn, game, world.now)
        assert [(one.name, one.consent_version) for one in found] == [("a", "2026-01"), ("c", "2026-01")]
        assert [one.name for one in await programme_members.members(conn, game, world.now, after="a")] == ["c"]
        assert await programme_members.counts(conn, world.now) == {game.id: 2}
        (gone,) = await programme_members.of_ven(conn, vens[2].ven_id)
    assert gone.valid_to is not None


async def test_versions_are_all_there(world):
    game = await world.programme()
    async with world.tx() as tx:
        await programme.change(tx, game.id, "new", Parameters(priority=3), world.now, who="test")
    async with world.db.read() as conn:
        found = await programme_members.versions(conn, game.id)
        assert [(one.version, one.parameters.priority) for one in found] == [(2, 3), (1, None)]
        with pytest.raises(NotFoundError):
            await programme_members.versions(conn, "nothing")
