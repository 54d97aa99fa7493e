"""The gateway's command line."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from core.spans import Duration
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.report import ReportRequest
from ven.assessment import HOW_TO_INSTALL, Assessment, Assessments, Interval, OfResource, Outcome
from ven.cli import app, lone
from ven.state_files import STORE_FILE
from ven.store import Store
from ven.vtn_state import KnownEvent, Registration, ReportTask

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "household.yaml"

BARE = """\
version: 1
name: home
identity: identity
state: state
vtn: {url: "http://127.0.0.1:9/OpenADR2/Simple/2.0b"}
"""


PLUG = "title: A plug\npoints: {power: {topic: a/power}}\n"
METER = "devices: [{id: meter, driver: meter}]\nmqtt: {host: 127.0.0.1, port: 9}\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "household.yaml"
    path.write_text(BARE)
    return path


@pytest.fixture(autouse=True)
def _own_logs():
    """Undo what the commands do to the process's logging."""
    yield
    structlog.reset_defaults()


def call(*args):
    return CliRunner().invoke(app, [str(one) for one in args])


def test_what_events_brought_is_listed(config, tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    store = Store(folder / STORE_FILE)
    assert "No event has been assessed" in call("assessments", "--config", config).output
    start = datetime(2026, 3, 2, 12, tzinfo=UTC)
    quarters = tuple(Interval(start + n * timedelta(minutes=15), 250.0, 100.0) for n in range(4))
    outcome = Outcome("10of10/2", (OfResource("home", quarters, "applied"),))
    Assessments(store).put(Assessment("evt", start, start + timedelta(hours=1), start, 900, outcome))
    store.close()
    assert "used 600 Wh less than the 1,000 Wh expected (by 10of10/2)" in call("assessments", "-c", config).output
    (found,) = json.loads(call("assessments", "-c", config, "--json").output)
    assert found["resources"][0]["delta_wh"] == -600.0
    assert len(found["resources"][0]["intervals"]) == 4


def test_a_baseline_that_there_is_not_is_named_by_the_check(config, monkeypatch):
    good = config.read_text()
    config.write_text(good + "assess: {baseline: mid8of10}\n")
    assert call("check", "-c", config).exit_code == 0
    config.write_text(good + "assess: {baseline: 11of10}\n")
    answer = call("check", "-c", config)
    assert answer.exit_code == 1
    assert "mid8of10" in answer.output
    monkeypatch.setattr("ven.assessment.is_installed", lambda: False)
    answer = call("check", "-c", config)
    assert answer.exit_code == 0
    assert HOW_TO_INSTALL in answer.output


def test_help_without_anything():
    assert call().exit_code == 2
    assert "opt-out" in call("--help").output


def test_check_and_schema():
    assert "3 devices" in call("check", "--config", EXAMPLE).output
    assert json.loads(call("schema").output)["properties"]["programmes"]


def test_check_warns_of_a_password_in_clear(config):
    broker = "mqtt: {host: broker.example, username: home, password: secret"
    config.write_text(f"{BARE}{broker}}}\n")
    result = call("check", "--config", config)
    assert result.exit_code == 0
    assert "goes to broker.example in clear" in result.output
    config.write_text(f"{BARE}{broker}, tls: {{}}}}\n")
    assert "in clear" not in call("check", "--config", config).output


def test_a_bad_file_is_told_with_its_line(config):
    config.write_text(BARE + "colour: red\n")
    result = call("check", "--config", config)
    assert result.exit_code == 1
    assert f"{config}:6:1: colour: unknown name" in result.output
    assert call("run", "--config", config).exit_code == 1


@pytest.mark.parametrize("command", ["run", "status", "check"])
def test_a_household_file_that_is_named_before_the_command_counts_for_it(command, tmp_path):
    result = call("--config", tmp_path / "none.yaml", command)
    assert result.exit_code == 1
    assert "none.yaml: The file cannot be read" in result.output


def test_a_command_for_one_household_refuses_several_files(tmp_path):
    result = call("--config", tmp_path / "one.yaml", "--config", tmp_path / "two.yaml", "check")
    assert result.exit_code == 2
    assert "check takes one household file, not 2." in result.output


def test_a_missing_identity_is_told_with_the_next_step(config):
    config.write_text(BARE.replace("vtn:", "#"))
    result = call("--config", config)
    assert result.exit_code == 1
    assert "evenload ven enrol" in result.output


def test_status_and_opt_out_need_a_gateway_that_ran(config, event):
    assert "has not run yet" in call("status", "--config", config).output
    store = Store(config.parent / "state" / STORE_FILE)
    store.put_event(KnownEvent(event(), "r", OptType.IN))
    assert call("opt-out", "evt", "--config", config, "--reason", "economic").exit_code == 0
    assert call("opt-out", "nothing", "--config", config).exit_code == 1
    (wish,) = store.wishes()
    assert (wish.opt, wish.reason) == (OptType.OUT, "economic")
    assert call("opt-in", "evt", "--config", config).exit_code == 0
    assert [one.opt for one in store.wishes()] == [OptType.OUT, OptType.IN]
    found = json.loads(call("status", "--config", config, "--json").output)
    assert found["registration"] is None
    assert found["events"][0]["event_id"] == "evt"
    assert "not registered" in call("status", "--config", config).output
    store.close()


def test_a_reason_that_the_vtn_could_not_read_is_refused(config, event):
    config.write_text(BARE.replace("vtn: {", "vtn: {opts: createOpt, "))
    store = Store(config.parent / "state" / STORE_FILE)
    store.put_event(KnownEvent(event(), "r", OptType.IN))
    refused = call("opt-out", "evt", "--config", config, "--reason", "we have guests")
    assert refused.exit_code == 1
    assert "is no reason to opt. Say one of" in refused.output
    assert call("opt-out", "evt", "--config", config, "--reason", "x-guests").exit_code == 0
    assert [wish.reason for wish in store.wishes()] == ["x-guests"]
    store.close()


def test_a_time_away_is_asked_for_shown_and_ended(config):
    assert "has not run yet" in call("away", "2026-03-02T12:00Z", "2026-03-09", "--config", config).output
    store = Store(config.parent / "state" / STORE_FILE)
    span = ("2026-03-02T12:00Z", "2026-03-09T12:00+01:00")
    assert call("away", *span, "--config", config, "--reason", "x-holiday").exit_code == 0
    (wish,) = store.absence_wishes()
    assert (wish.start, wish.end) == tuple(map(datetime.fromisoformat, span))
    for wrong in (span[::-1], ("soon", span[1]), (*span, "--reason", "because")):
        assert call("away", *wrong, "--config", config).exit_code == 1
    assert call("back", "opt-1", "--config", config).exit_code == 1
    week = Availability(wish.start, Duration.of(days=7))
    store.put_opt(Opt("opt-1", OptType.OUT, "x-holiday", wish.start, availability=(week,)))
    (shown,) = json.loads(call("status", "--config", config, "--json").output)["away"]
    assert (shown["opt_id"], shown["from"], shown["reason"]) == ("opt-1", wish.start.isoformat(), "x-holiday")
    assert "(x-holiday), opt-1" in call("status", "--config", config).output
    assert call("back", "opt-1", "--config", config).exit_code == 0
    assert [wish.ends_opt_id for wish in store.absence_wishes()] == [None, "opt-1"]
    store.close()


def test_enrol_needs_a_place(config):
    result = call("enrol", "CODE", "--vtn", "https://127.0.0.1:9")
    assert result.exit_code == 1
    assert "--directory" in result.output


def test_a_running_gateway_stops_cleanly_on_sigterm(config):
    command = [sys.executable, "-m", "evenload", "ven", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with process:
        for line in process.stderr:
            if "no answer" in line:  # it has tried its VTN, which is not there
                break
        os.kill(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert "gateway stopped" in rest
    assert "Traceback" not in rest


def test_a_gateway_with_a_hostile_request_in_its_store_stops_on_sigterm(config):
    """A bounded request whose span is long over, in months: such a one looped for ever, and SIGTERM came to nobody."""
    config.write_text(f"{BARE}resources: [{{id: home, meter: meter}}]\n{METER}")
    (config.parent / "templates").mkdir()
    (config.parent / "templates" / "meter.yaml").write_text(PLUG)
    start = datetime.now(UTC) - timedelta(days=90)
    span = {"granularity": Duration.of(minutes=1), "report_back": Duration(1), "start": start, "duration": Duration(2)}
    request = ReportRequest("rr", "TELEMETRY_USAGE", ("home/power",), **span)
    (config.parent / "state").mkdir()
    store = Store(config.parent / "state" / STORE_FILE)
    store.set_registration(Registration("reg", "ven", "vtn"))
    store.put_report_task(ReportTask(request, "TELEMETRY_USAGE", start))
    store.close()
    command = [sys.executable, "-m", "evenload", "ven", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        heard = next((line for line in process.stderr if "no answer" in line), "")
        os.kill(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 0
    assert heard, rest
    assert "gateway stopped" in rest


def test_a_running_gateway_reads_its_file_again_on_sighup_and_keeps_the_one_before_if_it_is_no_good(config):
    command = [sys.executable, "-m", "evenload", "ven", "--config", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def wait_for(text):
        return next((line for line in process.stderr if text in line), "")

    with process:
        wait_for("no answer")
        config.write_text(BARE + "devices: [{}]\n")
        os.kill(process.pid, signal.SIGHUP)
        assert "household.yaml:6" in wait_for("goes on with the one before")
        config.write_text(BARE.replace("name: home", "name: house"))
        os.kill(process.pid, signal.SIGHUP)
        wait_for("was read again")
        assert '"household": "home"' in wait_for("gateway stopped")
        assert '"household": "house"' in wait_for("gateway starts")
        os.kill(process.pid, signal.SIGTERM)
        assert "Traceback" not in process.stderr.read()
        assert process.wait(timeout=30) == 0


def devices(*args):
    return CliRunner().invoke(lone, ["devices", *(str(one) for one in args)])


def test_devices_lists_drivers_and_templates(tmp_path):
    (tmp_path / "my_plug.yaml").write_text(PLUG)
    result = devices("--templates", tmp_path)
    assert result.exit_code == 0
    assert (
        "shelly1 (template, mqtt): Shelly plugs and relays, first generation\n  reads power, energy; sets switch"
        in (result.output)
    )
    assert "  id (required): Shelly id." in result.output
    assert "my_plug (own template, mqtt): A plug" in result.output
    listed = {one["name"]: one for one in json.loads(devices("--templates", tmp_path, "--json").output)}
    assert {"iflex", "my_plug", "senml_meter", "shelly1"} <= set(listed)
    assert listed["shelly1"]["capabilities"] == ["switch"]
    relay = next(option for option in listed["shelly1"]["options"] if option["name"] == "relay")
    assert relay == {
        "name": "relay",
        "title": "Relay",
        "description": "Which relay of a device with several.",
        "required": False,
        "default": 0,
    }


def test_devices_says_which_template_is_no_good(tmp_path):
    (tmp_path / "my_plug.yaml").write_text(PLUG.replace("topic", "topik"))
    result = devices("--templates", tmp_path)
    assert result.exit_code == 1
    assert "my_plug: CANNOT BE USED" in result.output
    assert "my_plug.yaml:2:" in result.output
    listed = {one["name"]: one for one in json.loads(devices("--templates", tmp_path, "--json").output)}
    assert "topik: unknown name" in listed["my_plug"]["fault"]
    assert listed["shelly1"]["fault"] is None


def test_a_household_uses_its_own_template(config, tmp_path):
    config.write_text(f"{BARE}mqtt: {{}}\ndevices: [{{id: plug, driver: my_plug}}]\n")
    assert "There is no driver 'my_plug'" in call("check", "--config", config).output
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "my_plug.yaml").write_text(PLUG)
    assert "1 device, 0 programmes" in call("check", "--config", config).output
    (folder / "my_plug.yaml").write_text(PLUG.replace("topic", "topik"))
    assert "my_plug.yaml:2:" in call("check", "--config", config).output
    folder.rename(tmp_path / "mine")
    (tmp_path / "mine" / "my_plug.yaml").write_text(PLUG)
    config.write_text(config.read_text() + "templates: mine\n")
    assert "1 device, 0 programmes" in call("check", "--config", config).output
    assert "my_plug" in call("schema", "--templates", tmp_path / "mine").output
