"""What waits: codes, certificates, messages; what asks for a person."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.errors import ConflictError, NotFoundError
from support.vtn_world import fake_fingerprint
from vtn.services import outbox, pending, provisioning, registration
from vtn.services.outbox import State
from vtn.store.tables import enrolment_code, ven_certificate
from vtn.store.tables import outbox as outbox_table


async def test_a_dead_message_can_be_sent_again_and_arrives(world):
    ven = await world.ven()
    async with world.tx() as tx:
        await registration.ask_to_reregister(tx, ven.ven_id, world.now, who="test")
        await tx.conn.execute(update(outbox_table).where(outbox_table.c.kind == "reregister").values(state=State.DEAD))
    async with world.db.read() as conn:
        (row,) = await pending.messages(conn, ven_id=ven.ven_id, state=State.DEAD)
    async with world.tx() as tx:
        assert await pending.send_again(tx, row.id, world.now, who="test") == ven.ven_id
    assert [type(one).__name__ for one in await ven.drain()] == ["RequestReregistration"]
    async with world.tx() as tx:
        with pytest.raises(ConflictError):
            await pending.send_again(tx, row.id, world.now, who="test")
        with pytest.raises(NotFoundError):
            await pending.send_again(tx, 999, world.now, who="test")


async def test_codes_wait_until_they_are_used_expire_or_are_withdrawn(world):
    async with world.tx() as tx:
        ids = [await provisioning.create_ven(tx, name, world.now, who="test") for name in "abc"]
        for one in ids:
            await provisioning.new_enrolment_code(tx, one, world.now, who="test")
        late = {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}
        await tx.conn.execute(update(enrolment_code).where(enrolment_code.c.ven_id == ids[0]).values(**late))
        used = {"used_at": datetime.now(UTC)}
        await tx.conn.execute(update(enrolment_code).where(enrolment_code.c.ven_id == ids[1]).values(**used))
    async with world.tx() as tx:
        assert [one.ven_name for one in await pending.codes(tx.conn)] == ["c"]
        await pending.withdraw_code(tx, ids[2], world.now, who="test")
        assert await pending.codes(tx.conn) == []
        for one in ids[1:]:
            with pytest.raises(NotFoundError):
                await pending.withdraw_code(tx, one, world.now, who="test")


async def test_a_refused_certificate_comes_back_if_it_tries_again(world):
    name = fake_fingerprint(200)
    async with world.tx() as tx:
        await provisioning.note_waiting(tx, name, "commonName=x", world.now)
        await pending.refuse(tx, name, world.now, who="test")
        assert await pending.certificates(tx.conn) == []
        with pytest.raises(NotFoundError):
            await pending.refuse(tx, name, world.now, who="test")
        await provisioning.note_waiting(tx, name, "commonName=x", world.now)
        assert [one.attempts for one in await pending.certificates(tx.conn)] == [1]


async def test_what_asks_for_a_person_is_counted(any_world):
    world = any_world
    soon, renewed, unknown = [await world.ven() for _ in range(3)]
    ends = datetime.now(UTC) + timedelta(days=5)
    async with world.tx() as tx:
        for ven in (soon, renewed):
            mine = ven_certificate.c.ven_id == ven.ven_id
            await tx.conn.execute(update(ven_certificate).where(mine).values(not_after=ends))
        await provisioning.add_fingerprint(tx, renewed.ven_id, fake_fingerprint(99), world.now, who="test")
        await provisioning.note_waiting(tx, fake_fingerprint(200), "commonName=x", world.now)
        await outbox.put(tx, unknown.ven_id, outbox.Intent.REREGISTER, world.now)
        await tx.conn.execute(update(outbox_table).where(outbox_table.c.kind == "reregister").values(state=State.DEAD))
    async with world.db.read() as conn:
        assert await pending.alerts(conn, expiring_before=ends + timedelta(days=1)) == pending.Alerts(1, 1, 1)
        assert await pending.alerts(conn, expiring_before=ends) == pending.Alerts(1, 1, 0)
