import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from evenload.output import say_odd, show


@dataclass(frozen=True, slots=True)
class Ven:
    name: str
    power_w: float | None


def shown(data, **options):
    out = io.StringIO()
    show(data, as_json=options.pop("as_json", False), file=out, **options)
    return out.getvalue()


def test_a_table_with_chosen_columns():
    text = shown([{"id": "a", "power_w": 5, "on": True}, {"id": "b", "on": False}], columns=["power_w", "id", "on"])
    assert [line.split() for line in text.splitlines()] == [["power", "w", "id", "on"], ["5", "a", "yes"], ["b", "no"]]


def test_a_pipe_gets_whole_lines():
    assert len(shown([{"text": "word " * 200}]).splitlines()) == 2


def test_dataclasses_and_plain_values():
    assert [line.split() for line in shown([Ven("a", 1.5)]).splitlines()] == [["name", "power", "w"], ["a", "1.5"]]
    assert [line.split() for line in shown(["x"]).splitlines()] == [["value"], ["x"]]


def test_one_object_as_name_and_value():
    assert [line.split() for line in shown(Ven("a", None)).splitlines()] == [["name", "a"], ["power", "w"]]
    assert [line.split() for line in shown({"a": [1, {"b": 2}]}).splitlines()] == [["a", "[1,", '{"b":', "2}]"]]
    assert shown({"a": 1, "b": 2}, columns=["b"]).split() == ["b", "2"]


def test_nothing():
    assert shown([]) == "Nothing there yet.\n"
    assert shown([], empty="No VENs.") == "No VENs.\n"
    assert json.loads(shown([], as_json=True)) == []


def test_json_has_everything():
    rows = [{"id": "ä", "at": datetime(2026, 1, 31, tzinfo=UTC), "ven": Ven("a", 1.0)}]
    assert json.loads(shown(rows, as_json=True, columns=["id"])) == [
        {"id": "ä", "at": "2026-01-31 00:00:00+00:00", "ven": {"name": "a", "power_w": 1.0}}
    ]
    assert json.loads(shown(Ven("a", None), as_json=True)) == {"name": "a", "power_w": None}


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x9b31m", "a\rb", "\u202eevil", "a\nb", "\x07", "\u2028"])
def test_nothing_that_a_terminal_obeys_goes_through(hostile, as_json):
    text = shown([{"name": hostile, hostile: 1}], as_json=as_json)
    assert not set(hostile) & set(text) & set("\x1b\x9b\r\u202e\x07\u2028")
    assert text.isascii() or not as_json


def test_markup_stays_text():
    assert "[red]x[/red]" in shown([{"name": "[red]x[/red]"}])
    assert "[bold]" in shown([{"[bold]": 1}])
    assert "[red]x" in shown({"[red]x": "[/nonsense]"})


def test_how_many_vens_looked_odd_just_before():
    out = io.StringIO()
    say_odd(
        [{"flags": ["raised_before"]}, {"flags": []}, {"flags": ["raised_before"]}, {"flags": ["lowered_before"]}], out
    )
    assert out.getvalue().splitlines() == [
        "2 VENs used more than usual just before the event.",
        "1 VEN used less than usual just before the event.",
    ]
    out = io.StringIO()
    say_odd([{"flags": []}, {}], out)
    assert not out.getvalue(), "an earlier server knows no flags"
