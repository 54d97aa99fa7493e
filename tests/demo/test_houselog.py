from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InvalidError, UnavailableError
from evenload.demo.home_log import Entry, HouseLog, read_log, switches
from evenload.demo.model import Switch

AT = datetime(2013, 11, 20, 18, tzinfo=UTC)


def test_what_is_written_is_read_again_and_switches_are_told_by_home(tmp_path):
    path = tmp_path / "houses.jsonl"
    entries = [
        Entry(AT, "home-01", "heater", "command", "off"),
        Entry(AT, "home-01", "heater", "switch", "off"),
        Entry(AT, "home-02", "heater", "switch", "off"),
        Entry(AT + timedelta(hours=1), "home-01", "heater", "switch", "on"),
    ]
    with HouseLog(path) as log:
        for entry in entries:
            log.write(entry)
    assert read_log(path) == entries
    assert switches(entries, "home-01") == [Switch(AT, on=False), Switch(AT + timedelta(hours=1), on=True)]
    assert read_log(tmp_path / "none.jsonl") == []


def test_a_line_cut_short_by_a_crash_is_left_out_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "houses.jsonl"
    with HouseLog(path) as log:
        log.write(Entry(AT, "home-01", "heater", "switch", "off"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    with HouseLog(path) as log:
        log.write(Entry(AT, "home-01", "heater", "switch", "on"))
    assert [entry.value for entry in read_log(path)] == ["off", "on"]


@pytest.mark.parametrize(
    "line",
    ['{"time": "2013"}', "[]", "5", '{"time": "2013-11-20", "home": "", "device": "", "what": "x", "value": ""}'],
)
def test_a_foreign_line_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "houses.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(InvalidError, match="line 1"):
        read_log(path)


def test_a_log_that_cannot_be_opened_is_a_clear_error(tmp_path):
    with pytest.raises(UnavailableError, match="cannot be written"):
        HouseLog(tmp_path / "missing" / "houses.jsonl")
