"""The durable memory: it holds what was said, survives kill -9, and stands a full disk."""

import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError, NotFoundError, UnavailableError
from core.points import Quality, Reading
from core.spans import EARLIEST, LATEST, Duration
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.opt import Opt, OptType
from openadr.model.report import ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.v20b.messages import (
    CreatedEvent,
    CreatedReport,
    DistributeEvent,
    OadrResponse,
    RequestEvent,
    Response,
)
from ven.readings_store import Ring
from ven.store import Store, from_microseconds, microseconds
from ven.vtn_state import KnownEvent, Registration, ReportTask

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "gateway.db"


def oldest(store):
    return next(map(store.waiting, store.waiting_seqs()), None)


def test_everything_is_there_after_a_restart(path, event):
    store = Store(path)
    known = KnownEvent(event(), "rq", OptType.IN, offset_s=7, reason="because", stop_at=NOON)
    with store.transaction():
        store.set_registration(Registration("reg", "ven", "vtn"))
        store.put_event(known)
        store.push(CreatedEvent("ven", Response()))
        store.set_fact("x", {"a": [1, None]})
    store.close()
    again = Store(path)
    assert again.registration() == Registration("reg", "ven", "vtn")
    assert again.event("evt") == known
    assert oldest(again).message == CreatedEvent("ven", Response())
    assert again.fact("x") == {"a": [1, None]}
    again.close()


def test_a_transaction_is_all_or_nothing(path, event):
    store = Store(path)

    def half():
        with store.transaction():
            store.put_event(KnownEvent(event(), "rq", OptType.IN))
            store.push(CreatedEvent("ven", Response()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert store.events() == []
    assert oldest(store) is None
    store.close()


def test_the_file_is_durable(path):
    store = Store(path)
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store.db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


def test_the_outbox_is_first_in_first_out_and_buries(path):
    store = Store(path)
    for name in ("a", "b", "c"):
        store.push(CreatedReport(Response(request_id=name)))
    first = oldest(store)
    assert first.message.response.request_id == "a"
    store.tried(first.seq)
    assert oldest(store).tries == 1
    store.bury(first.seq, "never taken")
    assert oldest(store).message.response.request_id == "b"
    store.done(oldest(store).seq)
    assert store.waiting_count() == 1
    assert store.dead() == [("CreatedReport", "never taken")]
    store.close()


def test_the_dead_do_not_pile_up():
    store = Store(None)
    for _ in range(150):
        store.push(OadrResponse(Response()))
        store.bury(oldest(store).seq, "no")
    assert len(store.dead()) == 100
    store.close()


def test_wishes_come_from_another_process(path, event):
    running, typed = Store(path), Store(path)
    running.put_event(KnownEvent(event(), "rq", OptType.IN))
    typed.wish("evt", OptType.OUT, "economic")
    with pytest.raises(NotFoundError, match="evt"):
        typed.wish("other", OptType.OUT, "economic")
    (wish,) = running.wishes()
    assert (wish.event_id, wish.opt, wish.reason) == ("evt", OptType.OUT, "economic")
    running.granted(wish)
    assert typed.wishes() == []
    running.close()
    typed.close()


def test_absences_are_asked_for_by_another_process(path):
    running, typed = Store(path), Store(path)
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    for end, reason in ((noon, "economic"), (noon - timedelta(hours=1), "economic"), (noon + timedelta(hours=1), "no")):
        with pytest.raises(InvalidError):
            typed.wish_absence(noon, end, reason)
    with pytest.raises(NotFoundError, match="none"):
        typed.wish_presence("opt-1")
    running.put_opt(Opt("opt-1", OptType.OUT, "economic", noon))
    typed.wish_absence(noon, noon + timedelta(days=7), "x-holiday")
    typed.wish_presence("opt-1")
    away, back = running.absence_wishes()
    assert (away.start, away.end, away.reason, away.ends_opt_id) == (noon, noon + timedelta(days=7), "x-holiday", None)
    assert back.ends_opt_id == "opt-1"
    running.absence_granted(away)
    assert typed.absence_wishes() == [back]
    running.erase_relation()
    assert typed.absence_wishes() == []
    running.close()
    typed.close()


def test_a_store_of_the_layout_before_gets_what_is_new(path):
    store = Store(path)
    store.db.executescript("DROP TABLE absence_wishes; PRAGMA user_version=2;")
    store.close()
    again = Store(path)
    assert again.absence_wishes() == []
    again.close()


def test_a_file_of_another_layout_is_refused(path):
    Store(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(UnavailableError, match="99"):
        Store(path)


def test_a_damaged_value_is_set_aside_and_named(path, event):
    store = Store(path)
    store.put_event(KnownEvent(event("good"), "rq", OptType.IN))
    store.db.execute("INSERT INTO events VALUES ('bad', '{\"event\": 3}', NULL)")
    store.db.execute("INSERT INTO reports VALUES ('r', 'null')")
    assert [one.event.event_id for one in store.events()] == ["good"]
    assert store.event("bad") is None
    assert store.report_tasks() == []
    store.drop_unreadable(NOON)
    faults = {(fault.kind, fault.key): fault.reason for fault in store.faults()}
    assert set(faults) == {("unreadable KnownEvent", "bad"), ("unreadable ReportTask", "r")}
    assert "KnownEvent" in faults["unreadable KnownEvent", "bad"]
    assert store.rows("SELECT event_id FROM events") == [("good",)]
    store.close()


def test_what_no_number_is_reads_back(path, event):
    store = Store(path)
    signals = tuple(
        Signal("x-own", "level", str(value), (Interval(Duration.of(hours=1), value),), current_value=value)
        for value in (math.nan, math.inf, -math.inf)
    )
    store.put_event(KnownEvent(event(signals=signals), "rq", OptType.OUT, code=459))
    store.close()
    again = Store(path)
    values = [signal.intervals[0].value for signal in again.event("evt").event.signals]
    assert [str(value) for value in values] == ["nan", "inf", "-inf"]
    again.close()


def test_times_at_the_ends_of_the_calendar_read_back(path, event):
    store = Store(path)
    known = KnownEvent(event(start=EARLIEST), "rq", OptType.IN, stop_at=LATEST)
    store.put_event(known, LATEST)
    store.put_report_task(ReportTask(ReportRequest("r", "s", ("a",), start=EARLIEST), "n", LATEST))
    assert store.event("evt") == known
    assert store.report_task("r").delivered_until == LATEST
    store.close()


def test_of_events_that_are_over_only_the_newest_are_kept(path, event):
    store = Store(path)
    for number in range(40):
        store.put_event(KnownEvent(event(f"{number:02}"), "rq", OptType.OUT), NOON + timedelta(minutes=number))
    store.put_event(KnownEvent(event("running"), "rq", OptType.IN), None)
    store.put_event(KnownEvent(event("coming"), "rq", OptType.IN), NOON + timedelta(days=40))
    (size,) = store.rows("SELECT length(body) FROM events WHERE event_id = '00'")[0]
    store.trim_events(NOON + timedelta(days=30), 10 * size)
    assert [one.event.event_id for one in store.events()] == [*map(str, range(30, 40)), "coming", "running"]
    store.close()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Store(tmp_path / "file" / "gateway.db")


def test_a_full_disk_is_a_clear_error_and_passes(path, event):
    store = Store(path)
    pages = store.db.execute("PRAGMA page_count").fetchone()[0]
    store.db.execute(f"PRAGMA max_page_count={pages + 2}")
    ring = Ring(store, 1_000_000)
    batch = [Reading("m", NOON + timedelta(seconds=n), float(n)) for n in range(20_000)]
    with pytest.raises(UnavailableError, match="disk space"):
        ring.add(batch)
    assert len(ring) == 0
    assert ring.newest("m") is None
    store.db.execute("PRAGMA max_page_count=1000000")
    ring.add(batch)
    assert len(ring) == 20_000
    store.close()


def test_the_engine_goes_on_after_a_full_disk(bench, event):
    bench.register()
    message = bench.next()
    bench.store.db.execute("PRAGMA query_only=1")  # what a full disk does to every write
    answer = DistributeEvent("vtn", "r", (DeliveredEvent(event(), EventStatus.FAR),), Response())
    with pytest.raises(UnavailableError):
        bench.hear(answer)
    assert message is not None
    bench.store.db.execute("PRAGMA query_only=0")
    bench.engine.start(bench.now)
    assert bench.store.events() == []  # nothing was half taken
    bench.exchange(RequestEvent, answer)  # and nothing is lost: it asks for all
    assert bench.store.event("evt") is not None
    assert isinstance(bench.next(), CreatedEvent)


# -- the ring


def test_readings_are_never_overwritten():
    ring = Ring(Store(None), 100)
    ring.add([Reading("m", NOON, 1.0), Reading("m", NOON, 2.0)])
    ring.add([Reading("m", NOON, 3.0), Reading("n", NOON, 4.0)])
    assert [one.value for one in ring.between("m", NOON, NOON)] == [1.0]
    assert len(ring) == 2


def test_readings_come_back_as_they_were():
    ring = Ring(Store(None), 100)
    one = Reading("m", NOON + timedelta(microseconds=1), 0.1, timedelta(seconds=60), Quality.UNCERTAIN)
    ring.add([one])
    assert ring.newest("m") == one
    assert ring.between("m", NOON, NOON) == []
    assert ring.between("m", NOON, NOON, around=True) == [one]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=400), st.integers(10, 100))
def test_the_cap_holds_drops_the_oldest_and_counts(seconds, cap):
    ring = Ring(Store(None), cap)
    for second in seconds:
        ring.add([Reading("m", NOON + timedelta(seconds=second), float(second))])
    ever = set(seconds)
    kept = [one.value for one in ring.between("m", NOON, NOON + timedelta(days=1))]
    assert len(kept) == len(ring) <= cap
    if ring.dropped:
        assert ring.dropped_until is not None
    else:
        assert set(kept) == ever
    assert max(ever) in kept


def test_the_count_outlives_a_restart(path):
    store = Store(path)
    Ring(store, 10).add([Reading("m", NOON + timedelta(seconds=n), 0.0) for n in range(25)])
    store.close()
    again = Ring(store := Store(path), 10)
    assert len(again) + again.dropped == 25
    assert len(again) <= 10
    assert again.dropped_until == NOON + timedelta(seconds=24 - len(again))
    store.close()


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001  made aware below
def test_microseconds_are_exact(when):
    aware = when.replace(tzinfo=UTC)
    assert from_microseconds(microseconds(aware)) == aware


# -- kill -9

_WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from core.points import Reading
from openadr.v20b.messages import CreatedReport, Response
from ven.readings_store import Ring
from ven.store import Store

store = Store(Path(sys.argv[1]))
ring = Ring(store, 1000)
for n in range(100_000):
    with store.transaction():
        store.set_fact("n", n)
        store.push(CreatedReport(Response(request_id=str(n))))
        ring.add([Reading("m", datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n), float(n))])
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [1, 17, 120])
def test_kill_9_loses_nothing_that_was_committed(path, after):
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    with process:
        for line in process.stdout:
            if int(line) >= after:
                break
        os.kill(process.pid, signal.SIGKILL)
        told = max([int(line), *(int(more) for more in process.stdout.read().split("\n")[:-1] if more)])
    store = Store(path)
    n = store.fact("n")
    assert n >= told
    assert store.waiting_count() == n + 1  # the three writes of a transaction are together there or not
    assert Ring(store, 1000).newest("m").value == float(n)
    assert store.db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store.close()


def test_the_file_is_its_owners_alone_also_one_from_before(path):
    Store(path).close()
    for one in (path, path.with_name("gateway.db-wal")):
        one.touch()
        one.chmod(0o644)
    store = Store(path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    store.close()
