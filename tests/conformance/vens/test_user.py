"""Who opts at a VEN: a command, a person, or nobody."""

import json
import shlex
import sys

import pytest

from conformance.operator import UnableError
from conformance.vens.user import User


@pytest.fixture
def told(tmp_path):
    """Return a command that writes its arguments to a file, and what reads them."""
    script, file = tmp_path / "user.py", tmp_path / "told.json"
    script.write_text(f"import json, sys\njson.dump(sys.argv[1:], open({str(file)!r}, 'w'))\n")
    return shlex.join([sys.executable, str(script)]), lambda: json.loads(file.read_text())


def test_a_command_gets_what_is_to_be_done_in_its_place(told):
    command, words = told
    User(f"{command} {{do}} --config x").does("away", "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z")
    assert words() == ["away", "2030-01-01T00:00:00Z", "2030-01-02T00:00:00Z", "--config", "x"]
    User(command).does("opt-out", "an event; of $(somebody)")
    assert words() == ["opt-out", "an event; of $(somebody)"], "an id stays one word"


@pytest.mark.parametrize("command", ["false", "no-such-program", "'"])
def test_what_a_command_cannot_do_is_said(command):
    with pytest.raises(UnableError):
        User(command).does("back", "opt-1")


def test_a_person_is_asked_and_may_say_no():
    asked = []
    User(ask=lambda text: asked.append(text) or "").does("opt-in", "event-1")
    assert asked == ["At the VEN: opt in to the event event-1 by EiOpt."]
    with pytest.raises(UnableError, match="could not do it"):
        User(ask=lambda _text: "No").does("opt-in", "event-1")


def test_nobody_does_nothing():
    assert not User().is_there
    with pytest.raises(UnableError, match="--user, --ask"):
        User().does("back", "x")
