"""What is heard goes to the log: whose it is, what it names, without secrets; never at an answer's cost."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from core.errors import UnavailableError
from core.spans import Duration
from openadr.model.opt import OptType
from openadr.model.registration import Profile, VenProfile, VtnProfile
from openadr.v20b import messages as m
from openadr.v20b.encode import encode
from support.messages import log_of, logged
from support.vtn_world import NOON, fake_fingerprint
from vtn.services import message_log
from vtn.services.message_log import LogFilter, MessageSender, SubjectKind
from vtn.services.settings import LogBounds
from vtn.transport import message_log as transport_log
from vtn.transport.message_log import Exchange, MessageLog
from vtn.transport.redaction import BLANK
from vtn.transport.v20b.http import Edge

OK = encode(m.OadrResponse(m.Response(200, "OK")))


async def lines(world, **wanted):
    async with world.db.read() as conn:
        return await message_log.listing(conn, LogFilter(**wanted), bodies=True)


def exchange(request=b"<a/>", answer=OK, **more):
    return Exchange(request=request, answer=answer, **more)


async def test_who_spoke_is_the_certificates_ven_whatever_it_says(world):
    ven, other = await world.ven(), await world.ven()
    claimed = {"ven_id": other.ven_id}
    await logged(
        world,
        exchange(fingerprint=ven.peer.fingerprint, **claimed),
        exchange(fingerprint=fake_fingerprint(99), **claimed),
        exchange(**claimed),
        exchange(ven_id="nobody"),
        exchange(sender=MessageSender.VTN, fingerprint=fake_fingerprint(98), **claimed),
    )
    assert [(line.who, line.ven_id) for line in reversed(await lines(world))] == [
        (ven.ven_id, ven.ven_id),
        (fake_fingerprint(99), None),
        (other.ven_id, other.ven_id),
        ("", None),
        (other.ven_id, other.ven_id),
    ]


async def test_a_line_says_what_was_spoken_of(world):
    answer = m.CreatedEvent(
        "ven_1",
        m.Response(200, "OK", "q1"),
        (
            m.EventResponse("e1", 0, OptType.IN, "q<2"),
            m.EventResponse("e2", 3, OptType.OUT, "q3", 452),
        ),
    )
    await logged(world, exchange(encode(answer), type="oadrCreatedEvent"))
    (line,) = await lines(world)
    assert (line.type, line.answer_type, line.status, line.code, line.fault) == (
        "oadrCreatedEvent",
        "oadrResponse",
        200,
        452,
        True,
    )
    assert line.named(SubjectKind.EVENT) == ["e1", "e2"]
    assert sorted(line.named(SubjectKind.REQUEST)) == ["q1", "q3", "q<2"]
    assert (line.request_bytes, line.answer_bytes, line.cut) == (len(encode(answer)), len(OK), False)


@pytest.mark.parametrize(
    ("spoken", "type_", "answer_type", "code", "fault"),
    [
        (exchange(OK, OK), "oadrResponse", "oadrResponse", 200, False),
        (exchange(b"", b"not well-formed", status=406), None, None, None, True),
        (exchange(OK, b"", sender=MessageSender.VTN), "oadrResponse", None, 200, False),
        (exchange(OK, b"nobody there", sender=MessageSender.VTN, status=None), "oadrResponse", None, 200, True),
        (exchange(b"<oadrPayload><x/>", b"<oadrRequestEvent xmlns='a'>"), None, "oadrRequestEvent", None, False),
        (exchange(b"<a:oadrPoll", b"<oadrpoll>", profile=Profile.A), "oadrPoll", None, None, False),
        (exchange(b"<ei:responseCode a=''> 4x2</ei:responseCode>"), None, "oadrResponse", 200, False),
    ],
)
async def test_what_came_of_it(world, spoken, type_, answer_type, code, fault):
    await logged(world, spoken)
    (line,) = await lines(world)
    assert (line.type, line.answer_type, line.code, line.fault) == (type_, answer_type, code, fault)
    assert (line.status, line.sender, line.profile) == (spoken.status, spoken.sender, spoken.profile)
    assert [line.id for line in await lines(world, faults=True)] == ([line.id] if fault else [])


async def test_ids_are_bounded(world):
    many = b"".join(b"<eventID>e%d</eventID><requestID>q</requestID>" % n for n in range(50))
    odd = b"<eventID>%b</eventID><eventID> </eventID><requestID>&#0;</requestID>" % (b"x" * 121)
    await logged(world, exchange(many), exchange(odd))
    second, first = await lines(world)
    assert first.subjects == {"event": [f"e{n}" for n in range(20)]}
    assert second.subjects == {"request": ["\ufffd"]}


async def test_nothing_secret_is_stored(world):
    register = m.CreatePartyRegistration("q", VenProfile(ven_name="x"), "reg_secret", "ven_1")
    response, vtn = m.Response(200, "OK", "q"), VtnProfile("vtn")
    answer = m.CreatedPartyRegistration(response, vtn, "reg_secret", "ven_1")
    await logged(world, exchange(encode(register), encode(answer)))
    (line,) = await lines(world)
    for text in line.texts():
        assert "reg_secret" not in text
        assert BLANK.decode() in text
        assert "ven_1" in text


async def test_a_long_body_is_cut(world):
    await logged(world, exchange(b"<registrationID>" + b"x" * 70_000), exchange(b"<a>" + b"x" * 70_000))
    second, first = await lines(world)
    assert first.texts()[0] == "<registrationID>" + BLANK.decode()
    assert (second.cut, second.request_bytes, len(second.texts()[0])) == (True, 70_003, 65_536)


async def test_of_reports_that_were_taken_one_is_kept_now_and_then_and_all_others(world):
    a, b = await world.ven(), await world.ven()
    kind = {"type": "oadrUpdateReport", "good": True}
    log = log_of(world)
    for ven in (a, a, b, a):
        log.note(exchange(ven_id=ven.ven_id, **kind))
    log.note(exchange(ven_id=a.ven_id, type="oadrUpdateReport"))
    log.note(exchange(ven_id=a.ven_id, type="oadrCreatedEvent", good=True))
    await log.flush()
    kept = [(line.who, line.type) for line in await lines(world)]
    assert sorted(kept) == sorted(
        [(a.ven_id, "oadrUpdateReport")] * 2 + [(b.ven_id, "oadrUpdateReport"), (a.ven_id, "oadrCreatedEvent")]
    )
    every = log_of(world, LogBounds(report_every=Duration()))
    for _ in range(3):
        every.note(exchange(ven_id=b.ven_id, **kind))
    await every.flush()
    assert len([line for line in await lines(world) if line.who == b.ven_id]) == 4


async def test_without_time_to_keep_nothing_is_kept_and_what_there_is_goes(world):
    await logged(world, exchange())
    off = LogBounds(Duration())
    await logged(world, exchange(), bounds=off)
    assert len(await lines(world)) == 1
    await log_of(world, off).sweep()
    assert await lines(world) == []


async def test_what_there_is_no_room_for_is_lost_and_counted(world, monkeypatch):
    monkeypatch.setattr(transport_log, "_MOST_WAITING", 3)
    registry = CollectorRegistry()
    log = MessageLog(world.db, world.directory, LogBounds(), registry)
    for number in range(5):
        log.note(exchange(b"%d" % number))
    log.note(exchange(bytes(17 << 20)))
    await log.flush()
    assert [line.texts()[0] for line in await lines(world)] == ["2", "1", "0"]
    assert registry.get_sample_value("evenload_message_log_lost_total") == 3
    for _ in range(2):
        log.note(exchange(bytes(10 << 20)))
    await log.flush()
    assert len(await lines(world)) == 4


async def test_a_locked_database_loses_lines_and_never_an_answer(line, monkeypatch):
    world, registry = line.world, CollectorRegistry()
    log = MessageLog(world.db, world.directory, LogBounds(), registry)
    write, locked = world.db.write, True

    @contextlib.asynccontextmanager
    async def refuse():
        if locked:
            raise UnavailableError("the disk is full")
        async with write() as tx:
            yield tx

    monkeypatch.setattr(world.db, "write", refuse)
    with capture_logs() as said:
        for _ in range(3):
            log.note(exchange())
            await log.flush()
    assert [each["log_level"] for each in said] == ["warning"], "once"
    locked = False
    log.note(exchange())
    await log.flush()
    assert len(await lines(world)) == 1
    assert registry.get_sample_value("evenload_message_log_lost_total") == 3


_PIECES = (
    "<oadrPoll>", "<ei:eventID>", "</ei:eventID>", "<requestID a='1'>", "</requestID>", "<registrationID>", "&#0;",
    "&#xD800;", "&amp;", "\0", "\ufffe", "responseCode>200</", "<?xml version='1.0' encoding='x'?>",
    "x" * 130, "é", "<", ">",
)  # fmt: skip


@given(
    st.lists(st.one_of(st.sampled_from(_PIECES).map(str.encode), st.binary(max_size=20)), max_size=12).map(b"".join),
    st.sampled_from([200, 406, None]),
)
def test_whatever_is_said_makes_a_line_that_fits(body, status):
    (line,) = transport_log._lines([transport_log._Heard(NOON, "", exchange(body, body, status=status))])
    subjects = [text for kind in SubjectKind for text in line.named(kind)]
    assert all(0 < len(text) <= 120 and "\0" not in text for text in subjects)
    assert "".join(subjects).isascii() or "".join(subjects).encode()
    assert line.type is None or len(line.type) <= 60
    assert line.texts() is not None


async def test_a_message_that_cannot_be_logged_costs_no_other_its_line(world, monkeypatch):
    plain = transport_log.redacted

    def fail(body):
        if body == b"bad":
            raise ZeroDivisionError
        return plain(body)

    monkeypatch.setattr(transport_log, "redacted", fail)
    registry = CollectorRegistry()
    log = MessageLog(world.db, world.directory, LogBounds(), registry)
    for body in (b"good", b"bad", b"better"):
        log.note(exchange(body))
    with capture_logs() as said:
        await log.flush()
    assert [line.texts()[0] for line in await lines(world)] == ["better", "good"]
    assert [each["event"] for each in said] == ["a message cannot be logged"]
    assert registry.get_sample_value("evenload_message_log_lost_total") == 1


# -- what is heard at the listener


async def test_posts_are_heard_but_empty_polls_are_not(line_at):
    heard = []
    async with line_at(Edge(), note=heard.append) as line:
        heard.clear()
        await line.say(m.Poll(line.home.ven_id))
        assert heard == []
        await line.say(m.RequestEvent(line.home.ven_id, "q"))
        await line.send(b"<a/>")
        await line.send(encode(m.Poll("nobody")))
        await line.world.dispatch(line.home)
        await line.say(m.Poll(line.home.ven_id))
    fingerprint = line.home.peer.fingerprint
    assert [(each.fingerprint, each.type, each.status) for each in heard] == [
        (fingerprint, "oadrRequestEvent", 200),
        (fingerprint, "", 406),
        (fingerprint, "oadrPoll", 200),
        (fingerprint, "oadrPoll", 200),
    ]
    assert b"oadrDistributeEvent" in heard[-1].answer


async def test_a_message_that_could_not_be_answered_is_heard(line_at, monkeypatch):
    heard = []
    async with line_at(Edge(), note=heard.append) as line:
        heard.clear()
        for error, status in ((UnavailableError("busy"), 503), (ZeroDivisionError("inner workings"), 500)):

            async def fail(*_arguments, error=error):
                raise error

            monkeypatch.setattr(line.world.vtn, "answer", fail)
            assert (await line.send(encode(m.Poll(line.home.ven_id))))[0] == status
    assert [(each.status, each.answer) for each in heard] == [(503, b"busy"), (500, b"Internal error.")]


async def test_who_registers_without_a_certificate_is_known_by_the_answer(line_at):
    heard = []
    async with line_at(Edge(insecure=True), tls=False, note=heard.append) as line:
        heard.clear()
        await line.say(m.CreatePartyRegistration("q", VenProfile(ven_name="home")), certificate=None)
    assert [each.ven_id for each in heard] == [line.home.ven_id]
