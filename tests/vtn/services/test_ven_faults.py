"""What was wrong with VENs' messages: counted per VEN and kind, coalesced, bounded, and not lost."""

import pytest

from core.errors import EvenloadError, UnavailableError
from openadr.model.opt import OptType
from openadr.v20b.decode import decode_noting
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CanceledReport,
    CreatedEvent,
    CreatedReport,
    EventResponse,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    Response,
)
from openadr.v20b.repair import Repair
from support.vtn_world import NOON, counted_statements, usage
from vtn.services import ven_faults
from vtn.transport.peer import Peer


async def faults(world, ven):
    """Return (kind, subject) -> (count, text)."""
    await world.faults.flush()
    async with world.db.read() as conn:
        return {(one.kind, one.subject): (one.count, one.text) for one in await ven_faults.of_ven(conn, ven.ven_id)}


async def test_mended_deviations_are_counted_without_a_statement_a_poll(any_world):
    world = any_world
    ven, other = await world.ven(), await world.ven()
    body = encode(Poll(ven.ven_id)).replace(b" ei:schemaVersion", b" schemaVersion")
    with counted_statements() as statements:
        for _ in range(20):
            decoded = decode_noting(body)
            answer = await world.vtn.answer("OadrPoll", decoded.message, ven.peer, decoded.repairs)
            assert answer.response.ok
    assert statements == []
    assert await faults(world, ven) == {("mended", "unqualified schemaVersion"): (20, "")}
    with counted_statements() as statements:
        for _ in range(5):
            await world.vtn.answer("OadrPoll", decoded.message, ven.peer, {Repair.WEEKS, Repair.SCHEMA_VERSION})
        await world.faults.flush()
    assert len([one for one in statements if not one.startswith("BEGIN")]) == 1
    assert await faults(world, ven) == {
        ("mended", "unqualified schemaVersion"): (25, ""),
        ("mended", "weeks in a duration"): (5, ""),
    }
    assert await faults(world, other) == {}


ANSWERS = [
    (RegisteredReport(Response(452, "no")), "oadrRegisteredReport 452"),
    (CreatedReport(Response(461, "no")), "oadrCreatedReport 461"),
    (CanceledReport(Response(453, "no")), "oadrCanceledReport 453"),
    (CanceledPartyRegistration(Response(463, "no")), "oadrCanceledPartyRegistration 463"),
    (OadrResponse(Response(469, "no")), "oadrResponse 469"),
]


@pytest.mark.parametrize(("answer", "subject"), ANSWERS, ids=[type(answer).__name__ for answer, _ in ANSWERS])
async def test_every_error_code_of_an_answer_is_shown(world, answer, subject):
    ven = await world.ven()
    await world.vtn.answer("EiRegisterParty" if "Party" in subject else "EiReport", answer, ven.peer)
    assert await faults(world, ven) == {("answered", subject): (1, f"{answer.response.code} no")}


async def test_the_codes_of_a_created_event_are_shown_the_message_s_and_each_event_s(world):
    ven = await world.ven()
    await world.dispatch(ven)
    (sent,) = await ven.events()
    of_event = EventResponse(sent.event.event_id, 0, OptType.IN, "q", 460, "no such signal")
    await ven.say(CreatedEvent(ven.ven_id, Response(452, "ERROR"), (of_event,)))
    await ven.say(CreatedEvent(ven.ven_id, Response(799, "odd\x85text" + "x" * 500), ()))
    told = await faults(world, ven)
    assert told.pop(("answered", "oadrCreatedEvent with a code unknown to OpenADR"))[1].startswith("799 odd text")
    assert told == {
        ("answered", "oadrCreatedEvent 452"): (1, "452 ERROR"),
        ("answered", "oadrCreatedEvent 460"): (1, "460 no such signal"),
    }
    assert all(len(row.text) <= 200 for row in await world.rows("ven_fault"))


async def test_what_is_refused_is_the_certificates_ven_s(world):
    ven, other = await world.ven(), await world.ven()
    await ven.say(Poll("none such"))
    await ven.say(Poll(other.ven_id))
    await ven.say(RegisterReport("r", (usage("a"), usage("b")), ven.ven_id))
    await ven.say(Poll(ven.ven_id), peer=Peer("AA:AA:AA:AA:AA:AA:AA:AA:AA:FF", "a stranger"))
    told = await faults(world, ven)
    assert {subject: count for subject, (count, _) in told.items()} == {
        ("refused", "oadrPoll 452"): 1,
        ("refused", "oadrPoll 463"): 1,
        ("refused", "oadrRegisterReport 459"): 1,
    }
    assert await faults(world, other) == {}


async def test_what_one_ven_can_have_counted_is_bounded(world):
    ven = await world.ven()
    for code in range(100, 1000, 4):
        message = CreatedReport(Response(code, f"no {code}"), (), ven.ven_id)
        await world.vtn.answer("EiReport", message, ven.peer)
    rows = await world.rows("ven_fault")
    await world.faults.flush()
    rows = await world.rows("ven_fault")
    assert len(rows) <= 12
    assert sum(row.times for row in rows) == 200


async def test_counts_are_kept_while_the_store_does_not_answer(world, monkeypatch):
    ven = await world.ven()
    await ven.say(Poll("none such"))
    with monkeypatch.context() as patched:

        def unavailable():
            raise UnavailableError("The store does not answer.")

        patched.setattr(world.db, "write", unavailable)
        with pytest.raises(EvenloadError):
            await world.faults.flush()
    world.later(minutes=1)
    await ven.say(Poll("none such"))
    assert (await faults(world, ven))["refused", "oadrPoll 452"][0] == 2
    (row,) = await world.rows("ven_fault")
    assert (row.first_at, row.last_at) == (NOON, world.now)
