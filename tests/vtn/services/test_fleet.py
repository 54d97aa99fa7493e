"""The fleet: listing, groups, areas and bulk actions, each with its audit row."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.errors import ConflictError, InvalidError, NotFoundError
from support.vtn_world import HOUR, counted_statements, usage
from vtn.services import fleet, provisioning, site
from vtn.services.fleet import Filter, Presence
from vtn.store.tables import ven, ven_certificate

STALE_S = 30.0


async def listed(world, *, after=None, limit=100, **wanted):
    async with world.db.read() as conn:
        return await fleet.listing(conn, Filter(**wanted), world.now, STALE_S, after=after, limit=limit)


async def names(world, **wanted):
    return [row.name for row in await listed(world, **wanted)]


async def seen(world, one, at):
    async with world.tx() as tx:
        await tx.conn.execute(update(ven).where(ven.c.id == one.ven_id).values(last_seen_at=at))


async def group_of(world, name, *vens):
    async with world.tx() as tx:
        made = await fleet.create_group(tx, name, world.now, who="ann")
        if vens:
            await fleet.add_to_group(tx, made.id, [one.ven_id for one in vens], world.now, who="ann")
    return made.id


async def audits(world, action):
    return [row for row in await world.rows("audit") if row.action == action]


async def three(world):
    a, b, c = [await world.ven(name) for name in ("anna", "Bert", "carl_1")]
    return a, b, c


# -- the listing


async def test_presence_is_online_then_stale_then_offline(any_world):
    a, b, c = await three(any_world)
    await any_world.ven("dora", register=False)
    for one, age in ((a, 30), (b, 31), (c, 301)):
        await seen(any_world, one, any_world.now - timedelta(seconds=age))
    rows = {row.name: row for row in await listed(any_world)}
    assert {name: row.presence.value for name, row in rows.items()} == {
        "anna": "online", "Bert": "stale", "carl_1": "offline", "dora": "offline"
    }  # fmt: skip
    assert (rows["anna"].online, rows["Bert"].stale) == (True, True)
    async with any_world.db.read() as conn:
        counted = await fleet.counts(conn, any_world.now, STALE_S)
    assert (counted.online, counted.stale, counted.offline, counted.registered) == (1, 1, 2, 3)
    assert counted.total == 4
    for which, number in ((Presence.ONLINE, 1), (Presence.STALE, 1), (Presence.OFFLINE, 2)):
        assert len(await names(any_world, presence=which)) == number
        async with any_world.db.read() as conn:
            assert await fleet.count(conn, Filter(presence=which), any_world.now, STALE_S) == number
    assert await names(any_world, registered=False) == ["dora"]


async def test_waiting_certificates_are_counted(world):
    async with world.tx() as tx:
        await provisioning.note_waiting(tx, "AA:BB:CC:DD:EE:FF:00:11:22:33", "CN=x", world.now)
    async with world.db.read() as conn:
        assert (await fleet.counts(conn, world.now, STALE_S)).waiting == 1


async def test_text_is_found_in_name_and_id(any_world):
    a, _, _ = await three(any_world)
    assert await names(any_world, text="ERT") == ["Bert"]
    assert await names(any_world, text="_1") == ["carl_1"]
    assert await names(any_world, text="%") == []
    assert await names(any_world, text=a.ven_id[4:]) == ["anna"]


async def test_pages_go_by_name(any_world):
    for number in range(7):
        await any_world.ven(f"home {number}", register=False)
    found, after = [], None
    while page := await listed(any_world, after=after, limit=3):
        found += [row.name for row in page]
        after = page[-1].name
    assert found == [f"home {number}" for number in range(7)]


async def test_removed_vens_are_gone(world):
    a, b, _ = await three(world)
    group_id = await group_of(world, "g", a, b)
    async with world.tx() as tx:
        await provisioning.remove_ven(tx, a.ven_id, world.now, who="ann")
    assert await names(world) == ["Bert", "carl_1"]
    assert await names(world, group_id=group_id) == ["Bert"]
    async with world.db.read() as conn:
        assert (await fleet.get_group(conn, group_id)).members == 1
        assert await fleet.members_of(conn, group_id) == [b.ven_id]
        assert (await fleet.counts(conn, world.now, STALE_S)).total == 2
        with pytest.raises(NotFoundError):
            await fleet.one(conn, a.ven_id, world.now, STALE_S)
        assert (await fleet.one(conn, b.ven_id, world.now, STALE_S)).groups == ("g",)


async def test_certificates_that_end_soon(any_world):
    a, b, _ = await three(any_world)
    soon, late = datetime(2030, 1, 1, tzinfo=UTC), datetime(2035, 1, 1, tzinfo=UTC)
    async with any_world.tx() as tx:
        for one, until in ((a, soon), (b, late)):
            mine = ven_certificate.c.ven_id == one.ven_id
            await tx.conn.execute(update(ven_certificate).where(mine).values(not_after=until))
    assert await names(any_world, certificate_before=datetime(2031, 1, 1, tzinfo=UTC)) == ["anna"]
    rows = {row.name: row.certificate_until for row in await listed(any_world)}
    assert rows == {"anna": soon, "Bert": late, "carl_1": None}


async def test_a_page_costs_two_queries(world):
    for number in range(20):
        await world.ven(f"home {number}", register=False)
    with counted_statements() as seen_sql:
        await listed(world, text="home")
    assert sum("SELECT" in one for one in seen_sql) == 2


# -- groups


async def test_groups_are_made_renamed_and_deleted(any_world):
    a, b, _ = await three(any_world)
    group_id = await group_of(any_world, " north ", a, b)
    async with any_world.tx() as tx:
        assert (await fleet.rename_group(tx, group_id, "south", any_world.now, who="ann")).members == 2
        await fleet.rename_group(tx, group_id, "south", any_world.now, who="ann")
        with pytest.raises(ConflictError):
            await fleet.create_group(tx, "south", any_world.now, who="ann")
        for bad in ("", " ", "x" * 81, "a\nb"):
            with pytest.raises(InvalidError):
                await fleet.create_group(tx, bad, any_world.now, who="ann")
    assert sorted(row.groups for row in await listed(any_world)) == [(), ("south",), ("south",)]
    assert set(await names(any_world, group_id=group_id)) == {"anna", "Bert"}
    async with any_world.tx() as tx:
        await fleet.delete_group(tx, group_id, any_world.now, who="ann")
        with pytest.raises(NotFoundError):
            await fleet.delete_group(tx, group_id, any_world.now, who="ann")
    assert len(await listed(any_world)) == 3
    assert await any_world.rows("ven_group_member") == []
    assert len(await audits(any_world, "rename group")) == 1
    (gone,) = await audits(any_world, "delete group")
    assert gone.before == {"name": "south", "ven_ids": sorted([a.ven_id, b.ven_id])}


async def test_members_come_and_go_once(any_world):
    a, b, c = await three(any_world)
    group_id = await group_of(any_world, "g", a)
    async with any_world.tx() as tx:
        ids = [a.ven_id, b.ven_id, b.ven_id]
        assert await fleet.add_to_group(tx, group_id, ids, any_world.now, who="ann") == 1
        assert await fleet.add_to_group(tx, group_id, ids, any_world.now, who="ann") == 0
        gone = [b.ven_id, c.ven_id]
        assert await fleet.remove_from_group(tx, group_id, gone, any_world.now, who="ann") == 1
    assert await names(any_world, group_id=group_id) == ["anna"]
    assert [row.after for row in await audits(any_world, "add to group")] == [
        {"ven_ids": [a.ven_id]}, {"ven_ids": [b.ven_id]}
    ]  # fmt: skip
    assert [row.before for row in await audits(any_world, "remove from group")] == [{"ven_ids": [b.ven_id]}]


async def test_strangers_and_crowds_are_refused(world):
    a, _, _ = await three(world)
    group_id = await group_of(world, "g")
    for ids, error in (([a.ven_id, "nobody"], NotFoundError), ([f"v{n}" for n in range(1001)], InvalidError)):
        async with world.tx() as tx:
            with pytest.raises(error):
                await fleet.add_to_group(tx, group_id, ids, world.now, who="ann")
    async with world.tx() as tx:
        with pytest.raises(NotFoundError):
            await fleet.add_to_group(tx, "nothing", [a.ven_id], world.now, who="ann")
    assert await names(world, group_id=group_id) == []


# -- areas and sites


async def test_areas_are_set_for_many(any_world):
    a, b, c = await three(any_world)
    async with any_world.tx() as tx:
        ids = [a.ven_id, b.ven_id]
        for number in (2, 0):
            assert await site.set_area(tx, ids, "F1", any_world.now, time_zone="Europe/Athens", who="ann") == number
        assert await site.set_area(tx, [b.ven_id], None, any_world.now, time_zone="UTC", who="ann") == 1
    assert await names(any_world, area="F1") == ["anna"]
    async with any_world.db.read() as conn:
        assert await site.areas(conn) == {"F1": 1}
        assert (await site.site_of(conn, b.ven_id)).time_zone == "Europe/Athens"
        assert await site.site_of(conn, c.ven_id) is None
    first, second = await audits(any_world, "set area")
    assert first.after == {"area": "F1", "ven_ids": [a.ven_id, b.ven_id]}
    assert second.before == {b.ven_id: "F1"}


async def test_a_site_is_set_once(world):
    a, _, _ = await three(world)
    async with world.tx() as tx:
        for _ in range(2):
            made = await site.set_site(
                tx, a.ven_id, time_zone="Europe/Athens", area="F2", metering_point="m1", now=world.now, who="ann"
            )
        with pytest.raises(InvalidError, match="time zone"):
            await site.set_site(
                tx, a.ven_id, time_zone="Mars/Base", area=None, metering_point=None, now=world.now, who="ann"
            )
        with pytest.raises(NotFoundError):
            await site.set_site(tx, "nobody", time_zone="UTC", area=None, metering_point=None, now=world.now, who="ann")
    async with world.db.read() as conn:
        assert await site.site_of(conn, a.ven_id) == made
    (row,) = await audits(world, "set site")
    assert row.before is None
    assert row.after["area"] == "F2"


# -- reports


async def test_a_report_is_asked_of_many(any_world):
    a, b, _ = await three(any_world)
    await a.offer(usage("meter"), usage("meter", specifier="past", name="HISTORY_USAGE", duration=HOUR))
    async with any_world.tx() as tx:
        asked = await fleet.request_report(tx, [a.ven_id, b.ven_id], "TELEMETRY_USAGE", any_world.now, who="ann")
        assert asked[b.ven_id] is None
        past = await fleet.request_report(tx, [a.ven_id], "HISTORY_USAGE", any_world.now, who="ann")
    requests = {one.request_id: one for message in await a.drain() for one in message.requests}
    assert not requests[asked[a.ven_id]].report_back
    assert requests[past[a.ven_id]].duration == HOUR
    assert len(await audits(any_world, "request report")) == 2
