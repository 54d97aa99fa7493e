"""Polls that were read before: only how they read is kept, never that they counted."""

from openadr.signature.values import Fault, SignatureError
from openadr.v20b.decode import Decoded
from openadr.v20b.encode import encode
from openadr.v20b.messages import Poll, QueryRegistration
from vtn.transport.v20b import known_polls
from vtn.transport.v20b.known_polls import KnownPolls


def nobody(_claim):
    raise AssertionError("there is no signature to judge")


def test_an_unsigned_poll_is_its_bytes():
    polls, body = KnownPolls(), encode(Poll("v"))
    assert polls.get(body, nobody, strict=False) is None
    decoded = Decoded(Poll("v"))
    polls.put(body, decoded, strict=False)
    assert polls.get(body, nobody, strict=False) is decoded
    assert polls.get(body, nobody, strict=True) is None
    assert polls.get(body + b" ", nobody, strict=False) is None


def test_other_messages_and_bad_signatures_are_not_kept():
    polls, body = KnownPolls(), encode(Poll("v"))
    polls.put(body, Decoded(Poll("v"), signature=SignatureError(Fault.TIME, "late")), strict=False)
    polls.put(body, Decoded(QueryRegistration("q")), strict=False)
    polls.put(body + b" " * 1024, Decoded(Poll("v")), strict=False)
    assert polls.get(body, nobody, strict=False) is None
    assert polls.get(body + b" " * 1024, nobody, strict=False) is None


def test_so_many_are_kept(monkeypatch):
    monkeypatch.setattr(known_polls, "_MOST", 2)
    polls = KnownPolls()
    for name in "abc":
        polls.put(encode(Poll(name)), Decoded(Poll(name)), strict=False)
    kept = [name for name in "abc" if polls.get(encode(Poll(name)), nobody, strict=False)]
    assert kept == ["c"]
