"""`evenload conform`: exit codes, and what is said where something is missing."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from conformance import record
from conformance.cli import app
from conformance.exchange import Answer
from core.errors import InvalidError
from evenload.demo.processes import free_port

URL = f"http://127.0.0.1:{free_port()}/OpenADR2/Simple/2.0b"
"""Where nobody listens."""


def _run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"EVENLOAD_TOKEN": "", "EVENLOAD_CA": ""})


@pytest.fixture
def vens(tmp_path):
    path = tmp_path / "vens.toml"
    path.write_text("[[vens]]\nname = 'a'\n")
    return path


def test_a_vtn_that_is_not_there_could_not_be_tried(vens):
    done = _run("vtn", URL, "--vens", vens, "--only", "RG")
    assert done.exit_code == 3
    assert "could not be tried: the connection ended" in done.output


def test_without_vens_nothing_could_be_tried():
    done = _run("vtn", URL, "--only", "RG-05")
    assert done.exit_code == 3
    assert "no VEN is named; write a file for --vens" in done.output


def test_a_rule_that_is_not_there_is_named():
    done = _run("vtn", URL, "--only", "EV", "--only", "EV-1")
    assert isinstance(done.exception, InvalidError)
    assert "EV-1" in str(done.exception)
    assert "EV, " in str(done.exception)


def test_an_api_needs_a_token():
    assert "EVENLOAD_TOKEN" in str(_run("vtn", URL, "--api", "https://localhost:1").exception)


def test_replay_finds_what_is_broken(transcripts, tmp_path):
    (good,) = (each for each in transcripts if each.dialogue == "transport")
    record.save(tmp_path / "good", [good])
    done = _run("replay", tmp_path / "good", "--only", "TR-04", "--json", tmp_path / "good.json")
    assert (done.exit_code, json.loads((tmp_path / "good.json").read_text())["rows"][0]["verdict"]) == (0, "pass")
    exchanges = tuple(
        replace(each, answer=Answer(405, (), b"")) if each.step == "method:GET" else each for each in good.exchanges
    )
    record.save(tmp_path / "bad", [replace(good, exchanges=exchanges)])
    files = ("--junit", tmp_path / "bad.xml", "--html", tmp_path / "bad.html")
    done = _run("replay", tmp_path / "bad", "--only", "TR-04", *files)
    assert done.exit_code == 1
    assert "Broken: TR-04" in done.output
    assert "HTTP 405 in place of 501" in (tmp_path / "bad.html").read_text()
    assert 'failures="1"' in (tmp_path / "bad.xml").read_text()


def test_replay_judges_only_what_was_played(transcripts, tmp_path):
    (good,) = (each for each in transcripts if each.dialogue == "registration")
    record.save(tmp_path / "run", [good])
    done = _run("replay", tmp_path / "run", "--all")
    assert done.exit_code == 0
    assert "RG-05" in done.output
    assert "PL-01" not in done.output


def test_send_needs_a_template(live, tmp_path):
    reach = ("--api", live.api, "--token", live.token, "--ca", live.ca)
    assert "oadrPoll" in str(_run("send", live.openadr, "oadrNothing", *reach).exception)
    assert "ELEMENT=TEXT" in str(_run("send", live.openadr, "oadrPoll", "--set", "venID", *reach).exception)
