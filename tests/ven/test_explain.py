"""`evenload explain`: the planner's answer, without touching anything."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.target import Target
from openadr.v20b.decode import WireError
from openadr.v20b.encode import encode
from openadr.v20b.messages import DistributeEvent, Poll, Response
from ven.explain import as_json, as_text, explain

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def wire(*events):
    status = {True: EventStatus.CANCELLED, False: EventStatus.FAR}
    listed = tuple(DeliveredEvent(one, status[one.cancelled]) for one in events)
    return encode(DistributeEvent("vtn", "r", listed, Response()))


def test_what_would_happen_and_when(household, event):
    (found,) = explain(household, wire(event()), NOON)
    assert (found.event_id, found.opt, found.code, found.status) == ("evt", "optIn", 200, "far")
    (order,) = found.orders
    assert (order.at, order.device, order.value) == (NOON + timedelta(hours=1), "heater", "off")
    text = as_text([found])
    assert "heater.switch is set to off" in text
    assert "13:00:00Z" in text
    assert json.loads(json.dumps(as_json([found])))[0]["orders"][0]["until"] == "2026-03-02T14:00:00+00:00"


def test_a_test_event_and_a_random_start_are_told(household, event):
    (found,) = explain(household, wire(event(test_event="true", period={"start_after": Duration.of(minutes=5)})), NOON)
    assert "would be (test event)" in as_text([found])
    assert "0:05:00, at random" in as_text([found])


def test_a_refusal_is_explained(household, event):
    refused, invalid = explain(
        household, wire(event(target=Target(resource_ids=("x",))), event("b", values=((60, -1.0),))), NOON
    )
    assert (refused.code, refused.opt, refused.orders) == (462, "optOut", ())
    assert "no device is touched" in as_text([refused])
    assert invalid.code == 200


def test_foreign_words_cannot_steer_a_terminal(household, event):
    steering = "\x9b2J"  # a control character that XML 1.0 allows
    found = explain(
        household.model_copy(update={"market_contexts": ()}),
        wire(event(f"evt{steering}", market_context=f"http://x/{steering}")),
        NOON,
    )
    text = as_text(found)
    assert "\x9b" not in text
    assert "evt\N{REPLACEMENT CHARACTER}2J" in text


def test_a_cancelled_event_does_nothing(household, event):
    (found,) = explain(household, wire(event(cancelled=True)), NOON)
    assert found.orders == ()
    assert "cancelled" in as_text([found])


def test_an_event_for_another_ven_is_refused_once_we_know_who_we_are(household, event):
    body = wire(event(target=Target(ven_ids=("ven-9",))))
    assert explain(household, body, NOON)[0].code == 200
    assert explain(household, body, NOON, "ven-1")[0].code == 462


def test_an_empty_list_is_told(household):
    assert "no events" in as_text(explain(household, wire(), NOON))


def test_other_files_are_refused(household):
    with pytest.raises(InvalidError, match="oadrPoll"):
        explain(household, encode(Poll("v")), NOON)
    with pytest.raises(WireError):
        explain(household, b"<html/>", NOON)


_BARE = """
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'sqlalchemy', 'numpy', 'aiosqlite', 'alembic', 'uvloop'}:
            raise ImportError(name)
sys.meta_path.insert(0, No())
from typer.testing import CliRunner
import typer
from ven.cli import app, explain_command
main = typer.Typer()
main.command()(explain_command)
result = CliRunner().invoke(main, sys.argv[1:])
print(result.output)
assert CliRunner().invoke(app, ['--help']).exit_code == 0
import ven.gateway
sys.exit(result.exit_code)
"""


def test_it_runs_without_the_servers_libraries(tmp_path, event):
    home = Path(__file__).resolve().parents[2] / "examples" / "household.yaml"
    (tmp_path / "event.xml").write_bytes(wire(event()))
    command = [
        sys.executable,
        "-c",
        _BARE,
        str(home),
        str(tmp_path / "event.xml"),
        "--at",
        "2026-03-02T12:00:00Z",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["orders"][0]["device"] == "heater"


def test_what_the_operator_says_is_shown_in_a_line_of_its_own(household, event):
    (found,) = explain(household, wire(event(vtn_comment="Grid is tight.\n  Thank you! " + "x" * 900)), NOON)
    assert found.comment.startswith("Grid is tight.\n")
    (line,) = [one for one in as_text([found]).splitlines() if "operator" in one]
    assert line.startswith("  the operator says: Grid is tight. Thank you! xxx")
    assert len(line) < 600


def test_what_keeps_a_device_from_being_used_is_named(variant, event, household):
    devices = [one.model_dump(by_alias=True) for one in household.devices]
    devices[1] |= {
        "limits": {"max_per_day": 2, "max_time_per_day": "PT3H"},
        "comfort": [{"when": "meter.power < 300", "release": ["switch"]}, {"when": "meter.power > 9000"}],
    }
    (found,) = explain(variant(devices=devices), wire(event(values=((60, -1500.0),))), NOON)
    assert [note.removeprefix("heater ") for note in found.notes] == [
        "is used by 2 events a day at most",
        "is used for PT3H a day at most",
        "(switch) is given back as soon as meter.power < 300",
        "is given back as soon as meter.power > 9000",
    ]
    (other,) = explain(variant(devices=devices), wire(event(values=((60, 0.0),))), NOON)
    assert other.notes == ()
