"""The gateway's benchmark: what it sends, and how it counts; test_bridges_run.py has it run."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.bridge_home import Watch
from benchmarks.bridges import SESSIONS, Row, Session, packs, table, written
from benchmarks.mqtt_load import Publication, _publish
from benchmarks.results import Spread

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_every_value_of_a_session_has_a_time_of_its_own(session):
    messages, expected = written(session, NOON)
    assert len(messages) == len(expected) == session.count
    stored = [reading for each in expected for reading in each]
    assert len(stored) == session.count * session.values
    assert len({(point, start) for point, start, _ in stored}) == len(stored)
    assert len({value for _, _, value in stored}) == len(stored), "a value that stands in a wrong place is seen"
    newest = max(start for _, start, _ in stored)
    assert newest == NOON.timestamp() * 1e6, "nothing comes from the future, where it would be refused"


def test_messages_go_at_their_times():
    messages, _ = written(Session("s", 3, 1, timedelta(seconds=5), 200), NOON)
    assert [message.at_s for message in messages] == [0.0, 0.005, 0.01]


def test_packs_are_of_different_times():
    stamps = {json.loads(pack.payload)[0]["t"] for pack in packs(500, NOON)}
    assert len(stamps) == 500
    assert max(stamps) < NOON.timestamp()


@pytest.mark.parametrize(("size", "length"), [(122, b"\x7f"), (123, b"\x80\x01"), (16_379, b"\x80\x80\x01")])
def test_packets_are_those_of_the_standard(size, length):
    """MQTT 3.1.1, 2.2.3: seven bits a byte, least first. A topic of three and its length take five, an id two more."""
    packet = _publish(Publication(0.0, "a/b", b"x" * size), 0, 7)
    assert packet == b"\x30" + length + b"\x00\x03a/b" + b"x" * size
    assert _publish(Publication(0.0, "a/b", b"x"), 1, 7) == b"\x32\x08\x00\x03a/b\x00\x07x"


def test_the_latency_of_a_message_is_that_of_its_last_value():
    watch = Watch(None, 0)
    watch.counts = [(10.0, 0), (10.2, 3), (10.5, 4)]
    assert watch.latencies([10.0, 10.1, 10.2], 2) == pytest.approx([0.2, 0.4]), "the third never came"


def test_the_table_has_what_was_lost():
    row = Row("burst-10-qos1", 1, 10, 9, 1, p99_s=Spread(0.05, 0.04, 0.06))
    assert "| burst-10-qos1 | 10 | 9 | 1 | 0.05 (0.04 to 0.06) |" in table([row])
