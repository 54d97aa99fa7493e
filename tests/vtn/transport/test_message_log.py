"""The last messages of VENs: bounded, newest first, without what is as good as a key."""

import os

from vtn.transport import message_log
from vtn.transport.message_log import RecentMessages, shown


def test_the_last_eight_are_kept_newest_first():
    kept = RecentMessages()
    for number in range(20):
        kept.note("a", f"Poll{number}", b"<a/>", b"<b/>")
    kept.note("b", "Other", b"<a/>", b"<b/>")
    assert [one.kind for one in kept.of(["a"])] == [f"Poll{n}" for n in range(19, 11, -1)]
    assert len(kept.of(["a", "a", "b", "c"])) == 9


def test_memory_is_bounded_and_who_was_silent_longest_is_forgotten(monkeypatch):
    monkeypatch.setattr(message_log, "_MOST_BYTES", 10_000)
    kept = RecentMessages()
    for number in range(100):
        kept.note(f"ven {number}", "Report", os.urandom(5000), b"y" * 500)
    assert [number for number in range(100) if kept.of([f"ven {number}"])] == [99]


def test_keys_and_ids_of_registration_are_blanked():
    body = (
        b'<o:m xmlns:o="u" xmlns:ei="e" xmlns:ds="d"><ei:registrationID>secret1</ei:registrationID>'
        b"<ds:X509Certificate>secret2</ds:X509Certificate><ds:SignatureValue Id='s'>secret3\n</ds:SignatureValue>"
        b"<ei:venID>ven_1</ei:venID></o:m>"
    )
    for text in (shown(body), shown(body[:-6])):
        assert "secret" not in text
        assert "ven_1" in text
        assert text.count("[blanked]") == 3


def test_whatever_came_can_be_shown():
    assert shown(b"\xff\x00<") == "\ufffd\x00<"
    entity = b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"
    assert "root:" not in shown(entity)
    assert shown(b"<a>" + b"x" * 7000).endswith("(cut here)")
    kept = RecentMessages()
    kept.note("a", "?", b"<a>" + b"x" * 7000, b"")
    (one,) = kept.of(["a"])
    assert one.received.endswith("(cut here)")
