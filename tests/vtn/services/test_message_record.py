"""The log of a VEN's messages as a record of the conformance kit, judged by its checks."""

from datetime import timedelta

import pytest

from conformance import record
from conformance.checks import CHECKS
from conformance.profile import Profile
from conformance.runner import judged
from conformance.verdict import Verdict
from support.messages import a_line, kept
from support.vtn_world import NOON
from vtn.services import message_record
from vtn.services.message_bodies import packed
from vtn.services.message_log import LogFilter

PAYLOAD = """<?xml version="1.0"?><oadrPayload xmlns="http://openadr.org/oadr-2.0b/2012/07"
 xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110"
 xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"><oadrSignedObject>
 <oadrResponse ei:schemaVersion="2.0b"><ei:eiResponse><ei:responseCode>200</ei:responseCode>
 <pyld:requestID>q</pyld:requestID></ei:eiResponse></oadrResponse></oadrSignedObject></oadrPayload>"""
BROKEN = PAYLOAD.replace(' ei:schemaVersion="2.0b"', "")


@pytest.fixture
async def saved(world, tmp_path):
    """Put lines into the log; return what the kit reads from the record of the VEN ven_1."""

    async def save(*lines, wanted=None, **options):
        await kept(world, *lines)
        path = tmp_path / "record.json"
        parts = message_record.record(world.db, "ven_1", wanted or LogFilter("ven_1"), **options)
        path.write_bytes(b"".join([part async for part in parts]))
        (transcript,) = record.load(path)
        return transcript

    return save


def said(answer, minute=0, message="<a/>", **more):
    bodies = packed(message.encode(), answer if isinstance(answer, bytes) else answer.encode())
    return a_line(minute, bodies=bodies, **{"type": "oadrCreatedEvent", **more})


def minutes(transcript):
    return [int((exchange.at - NOON) / timedelta(minutes=1)) for exchange in transcript]


def verdicts(transcript):
    checks = [check for check in CHECKS if check.dialogue == "every"]
    return {result.rule: result for result in judged(checks, [transcript], Profile())}


async def test_what_was_answered_is_judged_oldest_first(saved):
    transcript = await saved(said(BROKEN, 1), said(PAYLOAD, 0, id="msg_0"))
    assert minutes(transcript) == [0, 1]
    assert transcript.exchanges[0].step == "oadrCreatedEvent:msg_0"
    result = verdicts(transcript)
    assert result["GN-01"].verdict == Verdict.PASS
    assert result["GN-02"].verdict == Verdict.FAIL
    assert minutes(result["GN-02"].exchanges) == [1]
    assert result["TR-06"].verdict == Verdict.NOT_OBSERVABLE
    assert "headers" in result["TR-06"].reason


async def test_what_was_pushed_is_judged_as_well(saved):
    pushed = said("<good/>", message=BROKEN, sender="vtn")
    nobody_there = said("no route", 1, message=PAYLOAD, sender="vtn", status=None)
    transcript = await saved(pushed, nobody_there)
    assert [exchange.is_push for exchange in transcript] == [True, True]
    assert transcript.exchanges[0].answer.body == b"<good/>"
    assert (transcript.exchanges[1].answer, transcript.exchanges[1].trouble) == (None, "no route")
    assert minutes(verdicts(transcript)["GN-02"].exchanges) == [0]


async def test_what_the_kit_cannot_judge_is_left_out_and_counted(saved):
    transcript = await saved(said(PAYLOAD, 0), said(PAYLOAD, 1, profile="2.0a"), said(PAYLOAD, 2, cut=True))
    assert minutes(transcript) == [0]
    assert transcript.facts == {"headers": "not recorded", "ven": "ven_1", "left_out": 2, "older_missing": False}


async def test_refusals_and_strangers_are_recorded(saved):
    stranger = said("no", type=None, status=406, who="AA:01")
    (exchange,) = await saved(stranger, wanted=LogFilter())
    assert (exchange.step, exchange.ven) == (f"unreadable:{stranger.id}", "AA:01")
    assert (exchange.answer.status, exchange.answer.body) == (406, b"no")


async def test_only_what_the_filter_names_is_recorded(saved):
    lines = [said(PAYLOAD, 0), said(PAYLOAD, 1, fault=True), said(PAYLOAD, 2, who="ven_2", fault=True)]
    assert minutes(await saved(*lines, wanted=LogFilter("ven_1", faults=True))) == [1]


async def test_a_long_log_has_every_message_once(saved):
    assert minutes(await saved(*(said(PAYLOAD, number) for number in reversed(range(120))))) == list(range(120))


async def test_a_record_that_would_be_too_large_has_the_newest(saved):
    transcript = await saved(*(said("x" * 1000, number) for number in range(70)), largest=60_000)
    assert 40 < len(transcript.exchanges) < 60
    assert minutes(transcript) == list(range(70 - len(transcript.exchanges), 70))
    assert transcript.facts["older_missing"]


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"\x01" * 1000, "<ä>\n\t\"'\\</ä>".encode(), b"\x7f", "\u2028".encode()]
)
async def test_any_bytes_come_back(saved, world, body):
    (exchange,) = await saved(said(body))
    assert exchange.answer.body == body


async def test_bytes_that_json_blows_up_take_little_more_than_they_are(world):
    await kept(world, said(b"\x01" * 60_000))
    size = sum([len(part) async for part in message_record.record(world.db, "ven_1", LogFilter())])
    assert size < 60_000 * 1.4


async def test_of_nothing_the_record_is_empty(saved):
    transcript = await saved()
    assert (transcript.exchanges, transcript.facts["left_out"]) == ((), 0)
