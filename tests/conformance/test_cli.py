"""`evenload conform`: exit codes, and what is said where something is missing."""

import json
import re
import shlex
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from conformance import judge, record
from conformance.cli import app
from conformance.exchange import Answer, Transcript
from conformance.runner import play
from evenload.demo.processes import free_port

URL = f"http://127.0.0.1:{free_port()}/OpenADR2/Simple/2.0b"
"""Where nobody listens."""


@contextmanager
def _serving(body):
    """Serve a page, whatever is asked for; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  as http.server calls it

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


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


def test_without_vens_there_is_nothing_to_play(tmp_path):
    done = _run("vtn", URL, "--only", "RG-05")
    assert done.exit_code == 2
    assert "--api and --token for an evenload VTN, --vens FILE for another one" in done.output
    (tmp_path / "none.toml").write_text("vens = []\n")
    done = _run("vtn", URL, "--vens", tmp_path / "none.toml", "--only", "RG-05")
    assert done.exit_code == 3
    assert "no VEN is named; write a file for --vens" in done.output


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "ftp://vtn/x",
        "http://[::1",
        "http://h:99999/x",
        "https://",
        "http://..",
        f"http://{'h' * 64}/x",
        "http://h h/x",
    ],
)
def test_an_address_that_is_none_is_wrong_use(vens, url):
    for command in (("vtn",), ("fleet", "1"), ("send",)):
        done = _run(*command, url, *(["oadrPoll"] if command == ("send",) else []), "--vens", vens)
        assert done.exit_code == 2
        assert "is no http:// or https:// address" in " ".join(done.output.replace("│", " ").split())


def test_where_it_is_pushed_to_is_an_address(vens):
    done = _run("vtn", URL, "--vens", vens, "--push-address", "tester:9443")
    assert done.exit_code == 2
    assert "is no http:// or https:// address" in " ".join(done.output.replace("│", " ").split())


def test_what_a_vtn_does_not_have_is_not_played(vens, tmp_path):
    without = tmp_path / "profile.toml"
    without.write_text("[features]\npush = false\n")
    for profile, is_played in ((("--profile", without), False), ((), True)):
        done = _run("vtn", URL, "--vens", vens, "--only", "TR", *profile)
        assert ("... push trouble" in done.output) is is_played
        assert "... transport" in done.output


def test_a_run_is_recorded_into_a_new_directory(vens, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "01 leaving.json").touch()
    for name, text in (("file", "Nothing can be recorded in"), ("used", "is not empty")):
        done = _run("vtn", URL, "--vens", vens, "--record", tmp_path / name)
        assert done.exit_code == 2
        assert text in done.output
    _run("vtn", URL, "--vens", vens, "--only", "RG", "--record", tmp_path / "new")
    assert list((tmp_path / "new").iterdir())


def test_an_interrupted_run_keeps_what_was_played(vens, tmp_path, monkeypatch):
    played = []

    def interrupted(name, dialogue, setting):
        if played:
            raise KeyboardInterrupt
        played.append(play(name, dialogue, setting))
        return played[0]

    monkeypatch.setattr("conformance.cli.play", interrupted)
    done = _run("vtn", URL, "--vens", vens, "--record", tmp_path / "run")
    assert done.exit_code not in (0, 1, 2, 3)
    assert f"interrupted; what was played is in {tmp_path / 'run'}" in done.output
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_rule_that_the_kit_does_not_test_says_why():
    done = _run("vtn", URL, "--only", "XM-01")
    assert done.exit_code == 2
    assert "XM-01 cannot be tested: not built: the kit does not speak XMPP." in done.output


def test_a_run_in_which_nothing_was_said_is_not_judged(tmp_path):
    record.save(tmp_path / "run", [Transcript("registration")])
    done = _run("replay", tmp_path / "run")
    assert done.exit_code == 3
    assert "Nothing was said" in done.output


def test_damaged_facts_are_no_traceback(transcripts, tmp_path):
    (good,) = (each for each in transcripts if each.dialogue == "queue")
    record.save(tmp_path / "run", [replace(good, facts={"queued": 7})])
    done = _run("replay", tmp_path / "run", "--only", "PL-02")
    assert done.exit_code == 2
    assert "was damaged" in done.output


def test_where_no_openadr_is_spoken_nothing_could_be_tried(vens):
    with _serving(b"<html>Welcome</html>") as port:
        done = _run("vtn", f"http://127.0.0.1:{port}/OpenADR2/Simple/2.0b", "--vens", vens, "--only", "RG")
    assert done.exit_code == 3
    assert "There is no OpenADR at http://127.0.0.1" in done.output
    assert "HTTP 200" in done.output


def test_every_dialogue_of_a_vtn_tells_that_it_speaks_openadr(transcripts):
    for transcript in transcripts:
        assert any(each.answer and judge.is_openadr(each.answer) for each in transcript), transcript.dialogue


def test_a_rule_that_is_not_there_is_named():
    done = _run("vtn", URL, "--only", "EV", "--only", "EV-1")
    assert done.exit_code == 2
    assert "EV-1" in done.output
    assert "EV, " in done.output


def test_an_api_needs_a_token():
    done = _run("vtn", URL, "--api", "https://localhost:1")
    assert done.exit_code == 2
    assert "EVENLOAD_TOKEN" in done.output


def test_an_api_that_is_not_there_means_that_nothing_could_be_tried():
    done = _run("vtn", URL, "--api", f"http://127.0.0.1:{free_port()}", "--token", "x")
    assert done.exit_code == 3
    assert "The operator API does not answer" in done.output


def test_a_file_that_cannot_be_written_is_told_before_the_run(vens, tmp_path):
    (tmp_path / "old.json").write_text("kept")
    for option in ("--junit", "--json", "--html"):
        done = _run("vtn", URL, "--vens", vens, option, tmp_path / "nowhere" / "out")
        assert done.exit_code == 2
        assert "out cannot be written: No such file or directory." in done.output
    _run("vtn", URL, "--vens", vens, "--only", "RG", "--json", tmp_path / "old.json", "--html", tmp_path / "new.html")
    assert (tmp_path / "old.json").read_text() == "kept"
    assert not (tmp_path / "new.html").exists()


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
    nothing = _run("replay", tmp_path / "run", "--only", "PL")
    assert nothing.exit_code == 2
    assert "it has registration" in nothing.output


def test_one_file_is_a_record_and_says_what_it_leaves_out(transcripts, tmp_path):
    (good,) = (each for each in transcripts if each.dialogue == "registration")
    record.save(tmp_path, [replace(good, dialogue="messages", facts={"headers": "not recorded", "left_out": 3})])
    (path,) = tmp_path.glob("*.json")
    done = _run("replay", path, "--only", "GN", "--all")
    assert done.exit_code == 0
    assert re.search(r"GN-01.*pass", done.output)
    assert "3 of the messages are not in the record" in done.output
    assert "older" not in done.output.casefold()
    shown = json.loads(path.read_text())
    path.write_text(json.dumps(shown | {"newest_first": True, "facts": {"older_missing": True}}))
    assert [exchange.step for exchange in record.load(path)[0]] == [exchange.step for exchange in good][::-1]
    assert "Older messages are not in the record" in _run("replay", path).output


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "exchanges": {}}', '{"version": 1, "exchanges": [1]}'])
def test_a_file_that_is_no_record_is_refused(tmp_path, text):
    (path := tmp_path / "run.json").write_text(text)
    done = _run("replay", path)
    assert (done.exit_code, "no recorded dialogue" in " ".join(done.output.split())) == (2, True)


def test_a_record_that_is_not_there_is_refused(tmp_path):
    done = _run("replay", tmp_path / "none.json")
    assert (done.exit_code, "cannot be read: No such file" in " ".join(done.output.split())) == (2, True)


def test_a_run_of_a_vtn_is_not_taken_for_a_vens(transcripts, tmp_path):
    """Though VENs have a dialogue of the same name."""
    record.save(tmp_path / "run", [each for each in transcripts if each.dialogue == "answers"])
    done = _run("replay", tmp_path / "run", "--only", "EV-46", "--all")
    assert done.exit_code == 0
    assert "EV-46" in done.output


def test_a_restart_that_fails_is_no_clean_run(live):
    command = shlex.join([sys.executable, "-c", "import sys; sys.exit('it is masked')"])
    reach = ("--api", live.api, "--token", live.token, "--ca", live.ca)
    done = _run("vtn", live.openadr, *reach, "--only", "RG-06", "--pace", 1, "--restart", command, "--all")
    assert done.exit_code == 1, done.output
    assert "The dialogue 'restart' broke off" in done.output
    assert "Not all was seen of the restart: " in " ".join(done.output.split())


def test_a_restart_command_that_is_not_there_is_wrong_use(vens):
    done = _run("vtn", URL, "--vens", vens, "--restart", "/no/such/command")
    assert done.exit_code == 2
    assert "there is no such command" in done.output


def test_send_needs_a_template(live, tmp_path):
    reach = ("--api", live.api, "--token", live.token, "--ca", live.ca)
    done = _run("send", live.openadr, "oadrNothing", *reach)
    assert done.exit_code == 2
    assert "oadrPoll" in done.output
    assert "ELEMENT=TEXT" in _run("send", live.openadr, "oadrPoll", "--set", "venID", *reach).output


def test_what_is_sent_and_refused_as_it_has_to_be_is_no_fault(live):
    reach = ("--api", live.api, "--token", live.token, "--ca", live.ca)
    done = _run("send", live.openadr, "oadrCreateOpt", "--set", "optType=maybe", *reach)
    assert done.exit_code == 0, done.output
    assert "HTTP 406" in done.output
    assert "The request is not valid: " in done.output
    assert "{'optIn', 'optOut'}" in done.output, "what could have been said"
    assert "refused as it has to be (GN-12)" in done.output
