"""The file in which a running gateway shows how it is."""

import fcntl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridges.device import CapabilityKind
from ven.vitals import (
    LOCK_FILE,
    VITALS_FILE,
    ConnectionContact,
    DeviceContact,
    Vitals,
    VitalsFile,
    VtnContact,
    process_runs,
    read_vitals,
)

SWITCH, CURRENT_LIMIT, MODE = CapabilityKind.SWITCH, CapabilityKind.CURRENT_LIMIT, CapabilityKind.MODE
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
VITALS = Vitals(NOON, NOON, VtnContact("https://vtn.example"))


def test_what_was_put_is_read(tmp_path):
    devices = {"plug": DeviceContact(online=True, states={SWITCH: "on", CURRENT_LIMIT: 2.5, MODE: None})}
    VitalsFile(tmp_path).put(replace(VITALS, devices=devices))
    assert read_vitals(tmp_path) == replace(VITALS, devices=devices)


def test_mere_times_are_written_now_and_then_and_changes_at_once(tmp_path):
    file = VitalsFile(tmp_path)
    file.put(VITALS)
    answered = replace(VITALS, vtn=VITALS.vtn.answered(NOON))
    file.put(answered)
    later = NOON + timedelta(seconds=1)
    file.put(replace(answered, seen=later, vtn=answered.vtn.answered(later)))
    assert read_vitals(tmp_path) == answered
    silent = replace(answered, seen=later, vtn=answered.vtn.unanswered(later, "HTTP 503"))
    file.put(silent)
    assert read_vitals(tmp_path) == silent


def test_a_connection_that_is_silent_is_no_news_until_it_is_lost(tmp_path):
    file = VitalsFile(tmp_path)
    contact = ConnectionContact("mqtt", "localhost:1883", True, NOON, 1.0)
    file.put(first := replace(VITALS, connections={"mqtt": contact}))
    file.put(replace(VITALS, connections={"mqtt": replace(contact, silent_s=2.0)}))
    assert read_vitals(tmp_path) == first
    file.put(lost := replace(VITALS, connections={"mqtt": replace(contact, connected=False, silent_s=3.0)}))
    assert read_vitals(tmp_path) == lost


def test_messages_that_came_to_nothing_are_no_news_by_themselves(tmp_path):
    file = VitalsFile(tmp_path)
    contact = ConnectionContact("mqtt", "localhost:1883", True, NOON, 1.0, {"cannot be read": 1})
    file.put(first := replace(VITALS, connections={"mqtt": contact}))
    file.put(replace(VITALS, connections={"mqtt": replace(contact, unused={"cannot be read": 2})}))
    assert read_vitals(tmp_path) == first


def test_silence_counts_from_the_first_message_without_answer():
    contact = VITALS.vtn.unanswered(NOON, "one").unanswered(NOON + timedelta(hours=1), "other")
    assert (contact.silent_since, contact.reason) == (NOON, "other")
    assert contact.answered(NOON).silent_since is None


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff"])
def test_a_damaged_file_says_nothing(tmp_path, body):
    (tmp_path / VITALS_FILE).write_bytes(body)
    assert read_vitals(tmp_path) is None


def test_the_lock_says_whether_the_process_lives(tmp_path):
    assert not process_runs(tmp_path)
    with (tmp_path / LOCK_FILE).open("w") as file:
        assert not process_runs(tmp_path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert process_runs(tmp_path)
    assert not process_runs(tmp_path)
