"""The log of messages as a record of the conformance kit, judged by its checks."""

import json

import pytest

from conformance import record
from conformance.checks import CHECKS
from conformance.profile import Profile
from conformance.runner import judged
from conformance.verdict import Verdict
from core.errors import ConflictError
from evenload import message_record

PAYLOAD = """<?xml version="1.0"?><oadrPayload xmlns="http://openadr.org/oadr-2.0b/2012/07"
 xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110"
 xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"><oadrSignedObject>
 <oadrResponse ei:schemaVersion="2.0b"><ei:eiResponse><ei:responseCode>200</ei:responseCode>
 <pyld:requestID>q</pyld:requestID></ei:eiResponse></oadrResponse></oadrSignedObject></oadrPayload>"""


def message(number=0, **more):
    return {
        "id": f"msg_{number}",
        "at": f"2026-01-12T12:{number % 60:02}:00Z",
        "ven_id": "ven_1",
        "fingerprint": None,
        "sender": "ven",
        "profile": "2.0b",
        "type": "oadrCreatedEvent",
        "status": 200,
        "cut": False,
        "message": "<a/>",
        "answer": PAYLOAD,
        **more,
    }


def verdicts(directory):
    checks = [check for check in CHECKS if check.dialogue == "every"]
    return {result.rule: result for result in judged(checks, record.load(directory), Profile())}


def test_what_was_answered_is_judged_oldest_first(tmp_path):
    broken = PAYLOAD.replace(' ei:schemaVersion="2.0b"', "")
    assert message_record.save(tmp_path / "run", [message(1, answer=broken), message(0)]) == 2
    (transcript,) = record.load(tmp_path / "run")
    assert [exchange.step for exchange in transcript] == ["oadrCreatedEvent:msg_0", "oadrCreatedEvent:msg_1"]
    result = verdicts(tmp_path / "run")
    assert result["GN-01"].verdict == Verdict.PASS
    assert result["GN-02"].verdict == Verdict.FAIL
    assert [exchange.step for exchange in result["GN-02"].exchanges] == ["oadrCreatedEvent:msg_1"]
    assert result["TR-06"].verdict == Verdict.NOT_OBSERVABLE
    assert "headers" in result["TR-06"].reason


@pytest.mark.parametrize("more", [{"sender": "vtn", "status": None}, {"profile": "2.0a"}, {"cut": True}])
def test_what_the_kit_cannot_judge_is_left_out(tmp_path, more):
    assert message_record.save(tmp_path / "run", [message(0, **more), message(1)]) == 1


def test_refusals_and_strangers_are_recorded(tmp_path):
    strange = {"type": None, "ven_id": None, "fingerprint": "AA:01"}
    message_record.save(tmp_path, [message(0, status=406, answer="no", **strange)])
    (exchange,) = record.load(tmp_path)[0]
    assert (exchange.step, exchange.ven, exchange.answer.status) == ("unreadable:msg_0", "AA:01", 406)
    assert verdicts(tmp_path)["GN-01"].verdict == Verdict.NOT_OBSERVABLE


def test_a_long_log_is_several_files(tmp_path):
    assert message_record.save(tmp_path, [message(number) for number in reversed(range(450))]) == 450
    transcripts = record.load(tmp_path)
    assert [len(transcript.exchanges) for transcript in transcripts] == [200, 200, 50]
    steps = [exchange.step.partition("_")[2] for transcript in transcripts for exchange in transcript]
    assert steps == [str(number) for number in range(450)]
    assert verdicts(tmp_path)["GN-01"].verdict == Verdict.PASS


def test_of_nothing_nothing_is_written(tmp_path):
    assert message_record.save(tmp_path / "run", [message(cut=True)]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_something_in_it_stays_as_it_is(tmp_path):
    (tmp_path / "00 other.json").write_text(json.dumps({}))
    with pytest.raises(ConflictError, match="not empty"):
        message_record.save(tmp_path, [message()])
    assert len(list(tmp_path.iterdir())) == 1
