"""What is done with certificates, in our rows and in the authority."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from core.errors import ConflictError, NotFoundError, UnavailableError
from vtn.services import certificates, provisioning


class Register:
    """An authority whose list can be written, or cannot."""

    def __init__(self, *fingerprints):
        self.revoked = dict.fromkeys(fingerprints)
        self.writable = True

    def issued(self):
        return tuple(SimpleNamespace(fingerprint=name, revoked_at=at) for name, at in self.revoked.items())

    def revoke(self, fingerprint, _reason):
        if fingerprint not in self.revoked:
            raise NotFoundError("not ours")
        if not self.writable:
            raise UnavailableError("no room")
        self.revoked[fingerprint] = datetime.now(UTC)


async def test_a_retired_ven_is_retired_to_the_end_by_a_second_request(world):
    ven = await world.ven()
    authority = Register(ven.peer.fingerprint, "AA:BB")
    authority.writable = False
    with pytest.raises(UnavailableError, match="Send it again"):
        await certificates.retire_ven(world.db, authority, ven.ven_id, world.now, who="op")
    assert (await world.rows("ven"))[0].removed_at == world.now
    authority.writable = True
    await certificates.retire_ven(world.db, authority, ven.ven_id, world.now, who="op")
    assert authority.revoked[ven.peer.fingerprint] is not None
    assert authority.revoked["AA:BB"] is None
    with pytest.raises(NotFoundError):
        await certificates.retire_ven(world.db, authority, ven.ven_id, world.now, who="op")
    assert [row.action for row in await world.rows("audit")].count("remove VEN") == 1


async def test_an_authority_that_cannot_be_read_keeps_no_ven(world):
    ven = await world.ven()
    authority = Register(ven.peer.fingerprint)

    def unreadable():
        raise UnavailableError("no disk")

    authority.issued, real = unreadable, authority.issued
    with pytest.raises(UnavailableError, match="Send it again"):
        await certificates.retire_ven(world.db, authority, ven.ven_id, world.now, who="op")
    assert (await world.rows("ven"))[0].removed_at == world.now
    authority.issued = real
    await certificates.retire_ven(world.db, authority, ven.ven_id, world.now, who="op")
    assert authority.revoked[ven.peer.fingerprint] is not None


async def test_only_the_vens_own_certificate_is_revoked(world):
    ven, other = await world.vens(2)
    with pytest.raises(NotFoundError):
        await certificates.revoke(world.db, None, other.peer.fingerprint, world.now, who="op", ven_id=ven.ven_id)
    await certificates.revoke(world.db, None, other.peer.fingerprint, world.now, who="op", ven_id=other.ven_id)
    revoked = {row.ven_id: row.revoked_at for row in await world.rows("ven_certificate")}
    assert revoked == {ven.ven_id: None, other.ven_id: world.now}


async def test_a_removed_ven_gets_no_certificate(world):
    ven, _ = await world.vens(2)
    async with world.tx() as tx:
        await provisioning.remove_ven(tx, ven.ven_id, world.now, who="op")
    with pytest.raises(ConflictError, match="removed"):
        await certificates.accept_waiting(world.db, ven.ven_id, "AA", world.now, who="op")
