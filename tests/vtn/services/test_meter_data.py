"""Validated meter data: what is taken, what is refused and why (vtn.services.meter_data)."""

from datetime import timedelta
from itertools import pairwise

import pytest

from core.errors import ConflictError, InvalidError
from support.metered import HALF, metered_ven, send
from support.vtn_world import NOON
from vtn.services import evaluation, load_profile, meter_data, result_due, site
from vtn.services.meter_data import MeterRow
from vtn.services.result_due import Waits

HEADER = "metering_point,series,start,end,energy_wh,quality"
START = NOON + timedelta(hours=1)
END = START + timedelta(hours=1)
WAITS = Waits(timedelta(minutes=10), timedelta(days=7))


async def home(world, point="MP1", **more):
    ven = await world.ven()
    async with world.tx() as tx:
        await site.set_site(tx, ven.ven_id, time_zone="UTC", area=None, metering_point=point, now=NOON, who="test")
    return ven


def row(line=1, **changes):
    good = {
        "metering_point": "MP1", "series": "import", "start": "2026-01-12T10:00:00Z", "end": "2026-01-12T10:15:00Z",
        "energy_wh": "250.5", "quality": "validated",
    }  # fmt: skip
    return MeterRow(line, **good | changes)


async def take(world, *rows, refused=()):
    async with world.tx() as tx:
        return await meter_data.take(tx, rows, refused, world.now, who="ada")


BAD = {
    "no VEN has": {"metering_point": "MP9"},
    "none of import, export": {"series": "=cmd|' /C calc'!A0"},
    "none of validated": {"quality": "good"},
    "start is no time": {"start": "2026-01-12T10:00:00"},
    "start is no time in whole": {"start": "2026-01-12T10:00:00.5Z"},
    "end is no time": {"end": "yesterday"},
    "end after its start": {"end": "2026-01-12T10:00:00Z"},
    "within a day": {"start": "2026-01-11T09:00:00Z"},
    "in the future": {"start": "2026-01-12T11:50:00Z", "end": "2026-01-12T12:05:00Z"},
    "before 2000": {"start": "1999-12-31T10:00:00Z", "end": "1999-12-31T10:15:00Z"},
    "no plain number": {"energy_wh": "NaN"},
    "no plain number from 0": {"energy_wh": "-1"},
    "plain number from 0 on, such": {"energy_wh": "1e3"},
    "such as 250 or": {"energy_wh": "1" * 60},
    "more than the connection carries, 43470 W": {"energy_wh": "10868"},
    "metering_point is longer": {"metering_point": "M" * 81},
    "start is no": {"start": "0001-01-01T00:00:00+14:00"},
}


@pytest.mark.parametrize(("reason", "changes"), BAD.items(), ids=BAD)
async def test_a_bad_row_is_refused_with_a_reason_and_the_good_ones_are_taken(world, reason, changes):
    await home(world)
    taken = await take(
        world, row(1), row(2, **changes), row(3, start="2026-01-12T10:15:00Z", end="2026-01-12T10:30:00Z")
    )
    assert (taken.accepted, taken.vens) == (2, 1)
    ((line, text),) = [(one.line, one.reason) for one in taken.refused]
    assert line == 2
    assert reason.lower() in text.lower()
    (audited,) = [one for one in await world.rows("audit") if one.action == "take in meter data"]
    assert (audited.who, audited.subject) == ("ada", "MP1")
    assert audited.after == {"metering_points": ["MP1"], "accepted": 2, "refused": 1}


async def test_a_metering_point_of_two_vens_is_nobodys(world):
    await home(world)
    await home(world)
    taken = await take(world, row())
    assert (taken.accepted, taken.refused[0].reason) == (0, "2 VENs have this metering point; one may.")


async def test_the_same_interval_twice_counts_once_and_another_value_is_refused(any_world):
    world = any_world
    await home(world)
    taken = await take(world, row(1), row(2), row(3, energy_wh="1"))
    assert (taken.accepted, [one.line for one in taken.refused]) == (2, [3])
    assert taken.refused[0].reason == "Line 1 says something else of this interval."
    assert (await take(world, row(1, energy_wh="1"))).accepted == 1, "a correction, in a later message"


@pytest.mark.parametrize(
    ("start", "end"),
    [("09:55", "10:05"), ("10:05", "10:10"), ("10:10", "10:20"), ("09:45", "10:30"), ("10:00", "11:00")],
)
async def test_rows_of_one_message_share_no_time(world, start, end):
    await home(world)
    other = row(2, start=f"2026-01-12T{start}:00Z", end=f"2026-01-12T{end}:00Z", energy_wh="1")
    exported = row(3, series="export", start=other.start, end=other.end, energy_wh="1")
    before = row(4, start="2026-01-12T09:30:00Z", end="2026-01-12T09:45:00Z")
    taken = await take(world, row(1), other, exported, before)
    assert (taken.accepted, [one.line for one in taken.refused]) == (3, [2])
    assert taken.refused[0].reason == "It shares time with line 1, whose interval is another."


async def test_of_intervals_of_other_lengths_the_shortest_count(world):
    ven = await home(world)
    for rows in (
        [row(end="2026-01-12T10:30:00Z", energy_wh="1000")],
        [row(energy_wh="100")],
        [row(end="2026-01-12T11:00:00Z", energy_wh="3000")],
    ):
        assert (await take(world, *rows)).accepted == 1
    start_s = int((NOON - timedelta(hours=2)).timestamp())
    async with world.db.read() as conn:
        found = await load_profile.energy(conn, ven.ven_id, start_s, start_s + 3600, 900)
    assert found.energy_wh.tolist() == [100, 500, 750, 750]


def test_csv_is_read_in_any_order_of_columns():
    text = f'\ufeff{",".join(reversed(HEADER.split(",")))}\r\nvalidated,250,b,a,import,"MP,1"\r\n\r\nx,y\r\n'
    rows, refused = meter_data.read_csv(text)
    assert rows == [MeterRow(2, "MP,1", "import", "a", "b", "250", "validated")]
    assert [(one.line, one.reason) for one in refused] == [(4, "It has 2 fields, not 6.")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "first line names the columns"),
        ("a,b\n", "first line names the columns"),
        (f"{HEADER}\n" + "x,y\n" * 5_001, "more than 5000 rows"),
        ("x" * 500_001, "longer than 500000"),
        (f'{HEADER}\n"x', "Line 2 is no CSV"),
        (f"{HEADER}\n" + "x" * 140_000, "is no CSV"),
    ],
)
def test_what_is_no_such_csv_is_refused_whole(text, reason):
    with pytest.raises(InvalidError, match=reason):
        meter_data.read_csv(text)


# -- in results


async def result_of(world, ven, wish):
    dispatch_id = await world.dispatch(ven, rules={"baseline": "10of10-unadjusted", "settlement_interval": HALF})
    await ven.opt((await ven.events())[0])
    world.clock.advance(to=END)
    await send(ven, wish, NOON, *[100.0] * 4)
    return dispatch_id


def hour(energy_wh):
    return row(start=START.isoformat(), end=END.isoformat(), energy_wh=energy_wh)


async def look(world, dispatch_id):
    await result_due.tick(world.db, dispatch_id, world.now, WAITS, who="worker")
    async with world.db.read() as conn:
        return await evaluation.stored(conn, dispatch_id)


async def metered(world):
    ven, wish, _ = await metered_ven(world, 1)
    async with world.tx() as tx:
        await site.set_site(tx, ven.ven_id, time_zone="UTC", area=None, metering_point="MP1", now=NOON, who="test")
    return await result_of(world, ven, wish)


async def test_a_result_says_its_sources_is_frozen_when_final_and_opened_by_a_dispute(any_world):
    world = any_world
    dispatch_id = await metered(world)
    world.later(minutes=10)
    first = await look(world, dispatch_id)
    assert [(one.source, one.actual_w) for one in first.vens[0].intervals] == [("VEN register", 200)] * 2
    async with world.tx() as tx:
        with pytest.raises(ConflictError, match="not final"):
            await result_due.reopen(tx, dispatch_id, "x", world.now, who="ann")

    await take(world, hour("300"))
    world.clock.advance(to=END + timedelta(days=7))
    final = await look(world, dispatch_id)
    assert [(one.source, one.actual_w) for one in final.vens[0].intervals] == [("settlement meter", 300)] * 2
    assert (final.version, final.final_at) == (2, world.now)
    assert final.delivered_wh == pytest.approx(first.delivered_wh - 100)

    await take(world, hour("500"))
    assert (await evaluation.evaluate(world.db, dispatch_id, world.now)).delivered_wh == final.delivered_wh
    assert (await look(world, dispatch_id)).version == 2

    world.later(days=1)
    async with world.tx() as tx:
        with pytest.raises(InvalidError):
            await result_due.reopen(tx, dispatch_id, "  ", world.now, who="ann")
        await result_due.reopen(tx, dispatch_id, "The meter says more.", world.now, who="ann")
    opened = await look(world, dispatch_id)
    assert (opened.version, opened.final_at) == (3, None)
    assert opened.delivered_wh == pytest.approx(first.delivered_wh - 300)
    (audited,) = [one for one in await world.rows("audit") if one.action == "dispute result"]
    assert (audited.who, audited.after) == ("ann", {"reason": "The meter says more."})

    world.later(days=7)
    assert (await look(world, dispatch_id)).final_at == world.now, "as long open as after the end"


async def test_another_metering_point_is_another_meter(world):
    """What was metered at the site's former point is not added to what is metered at the present one."""
    dispatch_id = await metered(world)
    world.later(minutes=10)
    await take(world, hour("300"))
    first = await look(world, dispatch_id)
    ven_id = first.vens[0].ven_id
    async with world.tx() as tx:
        await site.set_site(tx, ven_id, time_zone="UTC", area=None, metering_point="MP2", now=NOON, who="test")
    await take(world, row(metering_point="MP2", start=START.isoformat(), end=END.isoformat(), energy_wh="300"))
    world.later(days=1)
    second = await look(world, dispatch_id)
    assert [one.actual_w for one in second.vens[0].intervals] == [one.actual_w for one in first.vens[0].intervals]
    assert second.delivered_wh == first.delivered_wh


async def test_a_meter_that_tells_of_no_export_had_none(world):
    ven = await home(world)
    since = NOON - timedelta(hours=4)
    quarters = [since + number * timedelta(minutes=15) for number in range(13)]
    rows = [
        row(number, start=start.isoformat(), end=end.isoformat())
        for number, (start, end) in enumerate(pairwise(quarters), 1)
    ]
    await take(world, *rows)
    await take(world, row(series="export", energy_wh="10"))
    first_s = int(since.timestamp())
    async with world.db.read() as conn:
        found = await load_profile.energy(conn, ven.ven_id, first_s, first_s + 3 * 3600, 900)
    assert found.energy_wh.tolist() == [250.5] * 8 + [240.5] + [250.5] * 3


async def test_what_was_computed_before_the_freezing_is_not_kept_after_it(world):
    dispatch_id = await metered(world)
    world.later(minutes=10)
    await look(world, dispatch_id)
    world.clock.advance(to=END + timedelta(days=7))
    await take(world, hour("300"))
    early = await evaluation.compute(world.db, dispatch_id, world.now)
    await take(world, hour("500"))
    final = await look(world, dispatch_id)
    assert final.final_at is not None
    async with world.tx() as tx:
        await result_due.keep(tx, early, world.now, who="ann")
    async with world.db.read() as conn:
        after = await evaluation.stored(conn, dispatch_id)
    assert (after.version, after.delivered_wh) == (final.version, final.delivered_wh)
