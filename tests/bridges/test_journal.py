"""The journal of leases: what it says it has, it has, also after kill -9."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridges.device import CapabilityKind, Command, State
from bridges.journal import Journal, read_open

NOW = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)

DYING = """
import os, signal, sys
from datetime import datetime, timedelta, UTC
from pathlib import Path
from bridges.device import Command, State
from bridges.journal import Journal
now = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
journal = Journal(Path(sys.argv[1]))
journal.accept(Command("c1", "heater", "switch", "off", now + timedelta(hours=1), "event-1"), now, "note")
journal.before_write("heater", "switch", "on", "off", now)
journal.step("c1", State.SENT, now)
unfinished = journal.transaction()
unfinished.__enter__()
journal.finish("c1", State.RESTORED, now)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_returned_from_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    dead = subprocess.run([sys.executable, "-c", DYING, str(path)], check=False, capture_output=True, timeout=60)
    assert dead.returncode == -9, dead.stderr.decode()
    journal = Journal(path)
    (entry,) = journal.open()
    assert entry.command == Command("c1", "heater", "switch", "off", NOW + timedelta(hours=1), "event-1")
    assert [(step.state, step.detail) for step in journal.outcomes("c1")] == [
        (State.JOURNALLED, "note"),
        (State.SENT, ""),
    ]
    held = journal.held("heater", "switch")
    assert (held.held, held.touched, held.previous, held.written, held.written_at) == (True, True, "on", "off", NOW)
    journal.close()


def test_a_step_is_taken_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "leases.db")
    command = Command("c1", "heater", "switch", "off", NOW + timedelta(hours=1), "event-1")
    journal.accept(command, NOW)
    assert journal.step("c1", State.SENT, NOW)
    assert not journal.step("c1", State.SENT, NOW + timedelta(seconds=1), "again")
    assert journal.finish("c1", State.RESTORED, NOW)
    assert not journal.finish("c1", State.RESTORED, NOW)
    assert [step.state for step in journal.outcomes()] == [State.JOURNALLED, State.SENT, State.RESTORED]
    assert journal.latest("c1") == journal.outcomes("c1")[-1]
    assert journal.latest("c2") is None
    assert journal.open() == []
    journal.close()


def test_the_previous_state_is_that_before_the_first_write(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "leases.db")
    for number, value in enumerate((2000.0, 3000.0)):
        journal.accept(Command(f"c{number}", "pump", "import_limit", value, NOW, "event-1"), NOW)
        journal.before_write("pump", "import_limit", 9000.0 - number, value, NOW)
    held = journal.held("pump", "import_limit")
    assert (held.previous, held.written) == (9000.0, 3000.0)
    journal.free("pump", "import_limit")
    freed = journal.held("pump", "import_limit")
    assert (freed.held, freed.touched, freed.previous, freed.written_at) == (False, False, None, NOW)
    journal.close()


FIRST_LAYOUT = """
CREATE TABLE slot (
    device TEXT NOT NULL, capability TEXT NOT NULL, held INTEGER NOT NULL, touched INTEGER NOT NULL DEFAULT 0,
    previous TEXT, written TEXT, written_at TEXT, PRIMARY KEY (device, capability));
CREATE TABLE command (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, device TEXT NOT NULL, capability TEXT NOT NULL,
    value TEXT NOT NULL, until TEXT NOT NULL, cause TEXT NOT NULL, rank INTEGER NOT NULL,
    released INTEGER NOT NULL DEFAULT 0, closed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX command_open ON command (device, capability) WHERE closed = 0;
CREATE TABLE step (
    seq INTEGER PRIMARY KEY, command_id TEXT NOT NULL REFERENCES command (id) ON DELETE CASCADE, state TEXT NOT NULL,
    at TEXT NOT NULL, detail TEXT NOT NULL, UNIQUE (command_id, state));
INSERT INTO slot VALUES ('heater', 'switch', 1, 1, '"on"', '"off"', '2026-03-02T17:00:00+00:00');
INSERT INTO command VALUES (1, 'c1', 'heater', 'switch', '"off"', '2026-03-02T18:00:00+00:00', 'event-1', 2, 0, 0);
INSERT INTO step VALUES (1, 'c1', 'journalled', '2026-03-02T17:00:00+00:00', '');
INSERT INTO step VALUES (2, 'c1', 'confirmed', '2026-03-02T17:00:01+00:00', '');
PRAGMA user_version = 1;
"""


def test_a_journal_of_an_older_version_opens(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(FIRST_LAYOUT)
    (lease,) = read_open(path)
    assert (lease.command.id, lease.state, lease.previous, lease.released) == ("c1", State.CONFIRMED, "on", False)
    journal = Journal(path)
    (entry,) = journal.open()
    assert entry.confirmed_at == NOW + timedelta(seconds=1)
    assert journal.held("heater", "switch").previous == "on"
    journal.note_chosen("heater", "switch", "on", NOW)
    held = journal.held("heater", "switch")
    assert (held.held, held.chosen, held.chosen_at) == (True, "on", NOW)
    journal.finish("c1", State.RESTORED, NOW)
    journal.free("heater", "switch")
    assert read_open(path) == []
    journal.close()
    assert read_open(tmp_path / "none.db") == []


def test_the_journal_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    path.chmod(0o644)
    Journal(path).close()
    assert path.stat().st_mode & 0o077 == 0


def test_what_a_newer_version_wrote_does_not_hide_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    journal = Journal(path)
    for number in (1, 2):
        command = Command(f"c{number}", "heater", CapabilityKind.SWITCH, "off", NOW + timedelta(hours=1), "event-1")
        journal.accept(command, NOW)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT DISTINCT capability FROM command").fetchall() == [("switch",)]
        db.execute("UPDATE command SET capability = 'levitate' WHERE id = 'c1'")
        db.commit()
    assert [entry.command.id for entry in journal.open()] == ["c2"]
    assert [outcome.command.id for outcome in journal.outcomes()] == ["c2"]
    assert [lease.command.id for lease in read_open(path)] == ["c2"]
    journal.close()


def test_what_a_crash_left_marked_without_a_command_is_not_the_next_ones_previous_state(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "leases.db")
    where = ("heater", CapabilityKind.SWITCH)
    commands = [
        Command(f"c{number}", *where, "off", NOW + timedelta(hours=1), f"event-{number}") for number in (1, 2, 3)
    ]
    journal.accept(commands[0], NOW)
    journal.before_write(*where, "on", "off", NOW)
    journal.finish("c1", State.REFUSED, NOW)  # and killed before `free`
    journal.accept(commands[1], NOW)
    assert not journal.held(*where).touched
    journal.before_write(*where, "off", "off", NOW)
    journal.accept(commands[2], NOW)
    assert (journal.held(*where).touched, journal.held(*where).previous) == (True, "off")
    journal.close()
