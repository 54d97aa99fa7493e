"""`evenload conform fleet`: many VENs live at a VTN, and what they got is counted."""

import json

import pytest
from typer.testing import CliRunner

from conformance.cli import app
from conformance.exchange import Answer
from conformance.fleet import MOST_VENS, Load, check_place, run
from conformance.wire import Line, Outcome
from core.errors import InvalidError


def _fleet(*arguments):
    return CliRunner().invoke(app, ["fleet", *(str(each) for each in arguments)], env={"EVENLOAD_TOKEN": ""})


def test_a_fleet_lives_at_our_vtn_and_is_retired(live, tmp_path):
    reach = ("--api", live.api, "--token", live.token, "--ca", live.ca)
    done = _fleet(5, live.openadr, *reach, "--seconds", 2, "--period", 0.5, "--json", tmp_path / "fleet.json")
    assert done.exit_code == 0, done.output
    assert "5 of 5 VENs registered" in done.output
    told = json.loads((tmp_path / "fleet.json").read_text())
    rows = {row["name"]: row for row in told["rows"]}
    assert rows["oadrCreatePartyRegistration"]["sent"] == 5
    assert rows["oadrPoll"]["sent"] > 10
    assert rows["oadrPoll"]["median_ms"] <= rows["oadrPoll"]["p95_ms"] <= rows["oadrPoll"]["longest_ms"]
    assert [row["failed"] + row["refused"] for row in told["rows"]] == [0] * len(rows)


def test_what_is_not_answered_is_counted_with_its_reason(setting, monkeypatch):
    real = Line.exchange

    def half(self, request, **more):
        if b"oadrPoll " in request.body:
            return Outcome(Answer(503, (), b""))
        return real(self, request, **more)

    monkeypatch.setattr(Line, "exchange", half)
    outcome = run(Load(2, 0.2, 0.6), setting)
    assert outcome.registered == 2
    (poll,) = (row for row in outcome.rows if row.name == "oadrPoll")
    assert poll.failed == poll.sent == outcome.failed > 0
    assert outcome.troubles == {"HTTP 503": poll.failed}
    assert poll.median_ms is None


def test_nobody_registered_means_that_nothing_could_be_tried(tmp_path):
    path = tmp_path / "vens.toml"
    path.write_text("[[vens]]\nname = 'a'\n")
    done = _fleet(1, "http://127.0.0.1:9/OpenADR2/Simple/2.0b", "--vens", path, "--seconds", 1)
    assert done.exit_code == 3
    assert "could not be tried: the connection ended" in done.output


@pytest.mark.parametrize(
    "url", ["https://vtn.example:8443/OpenADR2/Simple/2.0b", "http://192.0.2.1/x", "http://127.0.0.1.example/"]
)
def test_other_machines_are_left_alone_unless_that_is_said(url):
    with pytest.raises(InvalidError, match="--anywhere"):
        check_place(url, anywhere=False)
    check_place(url, anywhere=True)
    check_place("http://[::1]:8080/x", anywhere=False)
    check_place("https://localhost/x", anywhere=False)


@pytest.mark.parametrize("count", [0, MOST_VENS + 1])
def test_a_fleet_has_bounds(setting, count):
    with pytest.raises(InvalidError, match="1 to"):
        run(Load(count, 1, 1), setting)
    assert _fleet(count, "http://127.0.0.1:9/x").exit_code == 2
