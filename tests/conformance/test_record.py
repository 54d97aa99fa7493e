"""Recorded runs."""

import json
from datetime import UTC, datetime

import pytest

from conformance import record
from conformance.exchange import Answer, Exchange, Request, Transcript
from core.errors import InvalidError

_AT = datetime(2026, 1, 12, 12, 0, 0, 250_000, tzinfo=UTC)


def _exchange(body=b"<a/>", answer=None, trouble=""):
    return Exchange("step:one", "a", Request("POST", "/x", (("Host", "h"),), body), answer, trouble, _AT)


def test_what_was_written_is_read_again(tmp_path):
    answers = Answer(200, (("Content-Type", "application/xml"),), b"\xff\xfe\x00"), Answer(406, (), "é".encode())
    transcripts = (
        Transcript(
            "second first", (_exchange(answer=answers[0]), _exchange(b"\x80", answers[1])), {"opts": [None, "x"]}
        ),
        Transcript("another", (_exchange(trouble="TLS ended"),), {}, "it broke off"),
    )
    record.save(tmp_path / "run", transcripts)
    assert record.load(tmp_path / "run") == transcripts


def test_recorded_runs_are_their_owners(tmp_path):
    record.save(tmp_path / "run", (Transcript("a"),))
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "dialogue": "a", "facts": {}, "broke": "", "exchanges": [{}]}'],
)
def test_what_is_no_record_is_named(tmp_path, content):
    (tmp_path / "00 a.json").write_text(content)
    with pytest.raises(InvalidError, match=r"00 a\.json"):
        record.load(tmp_path)


def test_an_empty_directory_is_no_run(tmp_path):
    with pytest.raises(InvalidError, match="no recorded dialogue"):
        record.load(tmp_path)


def test_every_dialogue_of_a_run_can_be_recorded(transcripts, tmp_path):
    record.save(tmp_path / "run", transcripts)
    assert record.load(tmp_path / "run") == transcripts
    assert all(json.loads(path.read_text())["version"] == 1 for path in (tmp_path / "run").iterdir())
