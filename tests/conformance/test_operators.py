"""Operators: a person at the terminal, nobody, and the file that names VENs; and the profile of what is absent."""

import os
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from conformance.exchange import Answer
from conformance.operator import EventOrder, Identity, OperatorRefusedError, ReportOrder, SignalOrder, UnableError
from conformance.operators import restarting
from conformance.operators.evenload import EvenloadOperator
from conformance.operators.person import PersonOperator, read_vens
from conformance.profile import Profile, load
from conformance.wire import Credentials, Line, Outcome
from core.errors import InvalidError

_START = datetime(2026, 1, 12, 17, tzinfo=UTC)
_ORDER = EventOrder(
    _START,
    (SignalOrder("SIMPLE", "level", ((60, 1.0), (60, 2.0))),),
    "http://a.example/p",
    priority=2,
    ramp_up_s=300,
    resources=("load1",),
    baseline=((120, 3.5),),
)


def _asked(*answers):
    texts, replies = [], list(answers)

    def ask(text):
        texts.append(text)
        return replies.pop(0) if replies else ""

    return PersonOperator((), ask), texts


def test_a_person_is_told_all_of_an_event():
    operator, texts = _asked()
    handle = operator.create_event(_ORDER, ["ven-1", "ven-2"])
    for part in (
        "ven-1, ven-2",
        "http://a.example/p",
        "2026-01-12T17:00:00+00:00",
        "60 s of 2.0",
        "ramp-up (s) 300",
        "baseline 120 s of 3.5",
    ):
        assert part in texts[0]
    operator.change_event(handle, start=_START.replace(hour=18))
    assert "18:00" in texts[1]
    assert "60 s of 2.0" in texts[1], "what is not changed is told, too"
    operator.cancel_event(handle)
    assert handle in texts[2]


def test_a_person_is_asked_to_require_signatures():
    operator, texts = _asked("", "", "no")
    ven = Identity("ven-1", Credentials(Path("ven-1.pem"), Path("ven-1.key")))
    operator.require_signatures(ven)
    operator.require_signatures(ven, required=False)
    assert texts == [
        "Require XML signatures of ven-1, by the key of its certificate ven-1.pem.",
        "No longer require XML signatures of ven-1, by the key of its certificate ven-1.pem.",
    ]
    with pytest.raises(UnableError):
        operator.require_signatures(ven)


def test_what_a_person_cannot_do_is_not_observable():
    operator, _ = _asked("No")
    with pytest.raises(UnableError):
        operator.create_event(_ORDER, ["ven-1"])


def test_a_person_reads_what_the_vtn_shows():
    operator, _ = _asked("optIn", "", "AA:BB")
    handle = "event 1"
    assert operator.opt(handle, "ven-1") == "optIn"
    assert operator.opt(handle, "ven-1") is None
    assert operator.fingerprint("ven-1") == "AA:BB"


def test_nobody_can_do_nothing():
    operator = PersonOperator(())
    for attempt in (
        lambda: operator.create_event(_ORDER, []),
        lambda: operator.request_report("v", ReportOrder("usage", ("power",))),
        lambda: operator.cancel_reports("v"),
        lambda: operator.reregister("v"),
        lambda: operator.unregister("v"),
        lambda: operator.require_signatures(Identity("v")),
        lambda: operator.provide("a"),
        operator.restart,
    ):
        with pytest.raises(UnableError):
            attempt()


def test_a_restart_is_a_command_or_a_person(tmp_path):
    operator, texts = _asked()
    operator.restart()
    assert texts == ["Restart the VTN: end it, and start it again."]
    PersonOperator((), None, shlex.join([sys.executable, "-c", f"open({str(tmp_path / 'done')!r}, 'w')"])).restart()
    assert (tmp_path / "done").is_file()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (None, "--restart"),
        ("/no/such/command now", "'/no/such/command now' cannot be run: .*No such file"),
        ("'", "cannot be run: No closing quotation"),
        ("", "cannot be run"),
        (shlex.join([sys.executable, "-c", "import sys; sys.exit('it is masked')"]), "ended with 1: it is masked"),
    ],
)
def test_a_restart_that_fails_says_why(command, words):
    with pytest.raises(UnableError, match=words):
        restarting.run(command)


@pytest.mark.parametrize("command", ["/no/such/command now", "'", "", "no-such-command-at-all"])
def test_what_is_no_command_is_said_before_the_run(command):
    restarting.check(shlex.join([sys.executable, "-c", ""]))
    with pytest.raises(InvalidError, match=r"--restart .* command"):
        restarting.check(command)


def test_what_a_restart_started_goes_on(tmp_path):
    script = tmp_path / "restart.sh"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {tmp_path / 'pid'}\n")
    restarting.run(f"sh {script}")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # raises if it has ended


def test_after_a_restart_the_api_is_waited_for(tmp_path, monkeypatch):
    outcomes = [Outcome(None, "the connection ended"), Outcome(Answer(200, (), b'{"now": "2026-01-01T00:00:00Z"}'))]
    monkeypatch.setattr(Line, "exchange", lambda *_: outcomes.pop(0))
    EvenloadOperator("http://127.0.0.1", "token", None, tmp_path, shlex.join([sys.executable, "-c", ""])).restart()
    assert outcomes == []


def test_vens_of_the_file_take_turns(tmp_path):
    for name in ("a.pem", "a.key", "old.pem", "old.key"):
        (tmp_path / name).touch()
    (tmp_path / "vens.toml").write_text(
        '[[vens]]\nname="a"\ncertificate="a.pem"\nkey="a.key"\nven_id="A"\n[[vens]]\nname="b"\n'
        '[expired]\ncertificate="old.pem"\nkey="old.key"\n'
    )
    listed = read_vens(tmp_path / "vens.toml")
    operator = PersonOperator(listed.vens)
    assert [operator.provide("x").name for _ in range(3)] == ["a", "b", "a"]
    assert listed.vens[0].credentials.key == tmp_path / "a.key"
    assert listed.vens[1] == Identity("b")
    assert listed.expired.certificate == tmp_path / "old.pem"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[[vens]", "line 1"),
        ("vens = 1", r"\[\[vens\]\]"),
        ("vens = [1]", "no name"),
        ("[[vens]]\nkey = 'x'", "no name"),
        ("[[vens]]\nname='a'\nven_id=1", "ven_id"),
        ("[[vens]]\nname='a'\ncertificate='x'\n", "no file .*x, its certificate"),
        ("expired = 1", "no certificate"),
    ],
)
def test_a_file_that_names_no_vens_is_refused(tmp_path, content, text):
    (tmp_path / "vens.toml").write_text(content)
    with pytest.raises(InvalidError, match=f"names no VENs: .*{text}"):
        read_vens(tmp_path / "vens.toml")


def test_a_file_of_vens_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidError, match=r"none\.toml cannot be read: No such file"):
        read_vens(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (403, b'{"detail": "Not yours.", "title": "Forbidden"}', OperatorRefusedError, "403 Not yours."),
        (404, b"<html>nothing</html>", OperatorRefusedError, "404 <html>nothing"),
        (404, b"[1]", OperatorRefusedError, r"404 \[1\]"),
        (503, b'{"title": "Later"}', UnableError, "503: Later"),
        (200, b"<html>hello</html>", UnableError, "no operator API"),
    ],
)
def test_what_the_operator_api_refuses_is_told_in_its_words(tmp_path, monkeypatch, status, body, error, text):
    monkeypatch.setattr(Line, "exchange", lambda *_: Outcome(Answer(status, (), body)))
    operator = EvenloadOperator("http://127.0.0.1", "token", None, tmp_path)
    with pytest.raises(error, match=text):
        operator.now()


def test_a_profile_says_what_is_absent(tmp_path):
    assert Profile().has("ramp_up")
    assert not Profile().has("xmpp")
    path = tmp_path / "profile.toml"
    path.write_text("[features]\nramp_up = false\npriority = true\n")
    assert not load(path).has("ramp_up")
    assert load(path).has("priority")
    assert not load(path).has("xmpp")


@pytest.mark.parametrize(
    "content", ["[features", "features = 1", "[features]\nramp_up = 1", "[features]\nother = true"]
)
def test_a_profile_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "profile.toml"
    path.write_text(content)
    with pytest.raises(InvalidError):
        load(path)
