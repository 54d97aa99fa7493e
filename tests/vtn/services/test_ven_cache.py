"""The hints of a process: fresh after a change, whole after a failure (vtn.services.ven_cache)."""

import asyncio
import contextlib

import pytest

from core.errors import UnavailableError
from openadr.v20b.messages import Poll
from vtn.services import provisioning
from vtn.services.ven_cache import VenCache


async def revoke(world, ven):
    async with world.tx() as tx:
        await provisioning.revoke_certificate(tx, ven.peer.fingerprint, world.now, who="test")


async def test_nobody_sees_old_hints_while_they_are_being_read_again(world):
    vens = [await world.ven() for _ in range(3)]
    await vens[0].poll()
    for ven in vens:
        await revoke(world, ven)
    asked = [world.vtn.answer("OadrPoll", Poll(ven.ven_id), ven.peer) for ven in vens * 5]
    assert {answer.response.code for answer in await asyncio.gather(*asked)} == {463}


@pytest.mark.parametrize("everything", [True, False])
async def test_hints_that_could_not_be_read_are_read_later(world, monkeypatch, everything):
    ven = await world.ven()
    directory = VenCache(world.db, world.clock)
    if not everything:
        await directory.refresh()
        await revoke(world, ven)

    @contextlib.asynccontextmanager
    async def gone():
        raise UnavailableError("The database does not answer.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(world.db, "read", gone)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await directory.identify(ven.peer.fingerprint)
    assert (await directory.identify(ven.peer.fingerprint) is None) is not everything


async def test_who_was_seen_is_not_forgotten_when_it_cannot_be_written(world, monkeypatch):
    ven = await world.ven()
    await ven.poll()

    @contextlib.asynccontextmanager
    async def full():
        raise UnavailableError("The disk is full.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(world.db, "write", full)
        with pytest.raises(UnavailableError):
            await world.directory.flush_seen()
    await world.directory.flush_seen()
    (row,) = await world.rows("ven")
    assert row.last_seen_at == world.now
