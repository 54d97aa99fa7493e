"""The command line as a user types it: at a running VTN, and where something is wrong."""

import importlib.util
import json
import re
import ssl
import subprocess
import sys
import time
from datetime import datetime, timedelta
from urllib.request import Request, urlopen

import pytest
import typer

from core.errors import InvalidError
from evenload import operate
from evenload.cli import app
from evenload.client import OperatorClient
from openadr.fingerprint import sha256_of_pem

DEADLINE_S = 30.0


def _json(terminal, *arguments):
    return json.loads(terminal.good(*arguments, "--json"))


def _world_now(shell):
    return datetime.fromisoformat(_json(shell, "status")["now"])


def _soon(shell, **later):
    return (_world_now(shell) + timedelta(**later)).isoformat(timespec="seconds")


def _programme(shell, name):
    context = f"http://example.com/{name.replace(' ', '-')}"
    return shell.good("programme", "create", name, "--market-context", context).strip()


def _order_by_template(shell, programme):
    assert "fast-dr" in shell.good("programme", "templates")
    when = ("event", "dispatch", programme, "--start", _soon(shell, hours=60))
    sent = _json(shell, *when, "--template", "thermostat", "--yes")["dispatch"]
    assert [signal["name"] for signal in sent["signals"]] == ["SIMPLE", "LOAD_CONTROL"]
    assert "there are capacity-bidding" in shell.bad(*when, "--template", "none")
    assert "leave out --duration" in shell.bad(*when, "--template", "thermostat", "--duration", "PT1H")
    assert "--power-w, or --template" in shell.bad(*when, "--duration", "PT1H")


def _for_whom(shell, order):
    """Order for a group, a resource and an area, by the members of a group of the fleet."""
    shell.good("group", "create", "Callees")
    shell.good("group", "add", "Callees", "Named 2")
    area = "service-area=59,18 60,18 60,19.5"
    named = ("--group", "Callees", "--target", "group=north=1", "--target", "resource=heater", "--target", area)
    made = _json(shell, *order, *named)
    assert {event["ven_name"] for event in made["events"]} == {"Named 1", "Named 2"}
    dispatch = made["dispatch"]
    assert (dispatch["resource_ids"], dispatch["target"]["group_ids"]) == (["heater"], ["north=1"])
    assert dispatch["target"]["service_areas"][0][2] == {"latitude": 60.0, "longitude": 19.5}
    assert "For resource=heater, group=north=1, service-area of 3 corners" in shell.good(
        "event", "show", dispatch["id"]
    )
    shell.good("event", "cancel", dispatch["id"])
    assert "'nowhere'" in shell.bad(*order, "--area", "nowhere")


def test_a_new_ven_s_gateway_is_told_how_to_get_the_authority(shell, live):
    fingerprint = sha256_of_pem(live.ca.read_bytes())
    assert f"evenload ven fetch-ca --vtn {live.url} --sha256 {fingerprint}" in shell.good("fleet", "add", "Home 0")


def test_an_operator_says_at_which_levels_a_ven_can_be_called(shell):
    ven_id = shell.good("fleet", "add", "Charger").split()[0]
    power = ("fleet", "partial-power", ven_id)
    assert "as a whole" in shell.good(*power)
    assert "from 1380 W on in steps of 230 W" in shell.good(*power, "--minimum", "1380", "--step", "230")
    assert _json(shell, *power) == {"minimum_w": 1380, "step_w": 230}
    assert "--minimum and --step" in shell.bad(*power, "--minimum", "5")
    assert "Either --none" in shell.bad(*power, "--none", "--step", "5")
    assert "as a whole" in shell.good(*power, "--none")


def test_an_operator_enters_what_was_agreed(shell):
    ven_id = shell.good("fleet", "add", "Workshop").split()[0]
    assert "Nothing was agreed" in shell.good("fleet", "agreed", ven_id)
    agree = ("fleet", "agree", "fixed-profile", ven_id, "--valid-from", "2026-01-31")
    assert shell.good(*agree, "--watts", "300", "--weekends=-20") == "fixed-profile of 1 VEN from 2026-01-31 on.\n"
    (row,) = _json(shell, "fleet", "agreed", ven_id)
    assert (row["weekdays_w"], row["weekends_w"]) == ([300], [-20])
    assert "-20" in shell.good("fleet", "agreed", "Workshop")
    assert "no list of watts" in shell.bad(*agree, "--watts", "300,x")
    assert "values a day" in shell.bad(*agree, "--watts", "1,2")


def test_a_day_of_an_operator(shell, live, tmp_path):
    added = shell.good("fleet", "add", "Home 1")
    ven_id, code = added.split()[0], re.search(r"[A-Z0-9]{4}(-[A-Z0-9]{4}){3}", added)[0]
    assert f"evenload ven enrol {code} --vtn {live.url} --ca vtn-ca.pem" in added
    home = tmp_path / "home"
    enrolled = shell.good("ven", "enrol", code, "--vtn", f"{live.url}/v1", "--ca", live.ca, "--directory", home)
    assert f"Home 1 ({ven_id})" in enrolled
    assert "never" in next(line for line in shell.good("fleet", "list").splitlines() if ven_id in line)
    (certificate,) = _json(shell, "fleet", "show", ven_id)["certificates"]
    assert re.search(rf"{certificate['fingerprint']}.*Faults: none", shell.good("fleet", "show", ven_id), re.DOTALL)

    programme = _programme(shell, "day")
    assert shell.good("programme", "enrol", programme, ven_id) == "1 VEN takes part.\n"
    assert "version 2" in shell.good("programme", "change", programme, "--notification", "PT5M", "--name", "night")
    assert "PT5M" in shell.good("programme", "show", programme)
    assert _json(shell, "programme", "show", programme)["name"] == "night"
    assert "night" in shell.good("programme", "list")
    hours = ("--start", "17:00", "--duration", "PT2H")
    compared = shell.good("programme", "baselines", programme, *hours)
    assert compared.startswith("No home has enough history"), "and no table of blanks"
    assert _json(shell, "programme", "baselines", programme, *hours, "--weekend")["days"] == "weekend"
    shell.good("programme", "change", programme, "--baseline", "mid8of10")
    assert _json(shell, "programme", "show", programme)["parameters"]["baseline"] == "mid8of10"

    order = ("--start", _soon(shell, hours=4), "--duration", "PT20M", "--power-w", "-1500", "--comment", "Danke!")
    dispatch, _, events = shell.good("event", "dispatch", programme, *order, "--yes").partition(": ")
    assert events == "1 event\n"
    assert dispatch in shell.good("event", "list")
    assert "far" in shell.good("event", "show", dispatch)
    assert "lasts until" in shell.bad("event", "result", dispatch)
    deadline = time.monotonic() + DEADLINE_S
    while (result := shell.type("event", "result", dispatch)).code:
        assert time.monotonic() < deadline, result
    assert "Ordered 0.50 kWh, what was delivered is not known yet" in result.out
    assert "1 has too few days for a baseline" in result.out
    assert "Events like this one can be measured from about" in result.out
    assert "Home 1" in result.out
    assert _json(shell, "event", "result", dispatch)["no_answer"] == 1
    assert "No VEN says anything" in shell.good("event", "self-assessments", dispatch)
    _order_by_template(shell, programme)
    other = _json(shell, "event", "dispatch", programme, *("--start", _soon(shell, hours=9)), *order[2:], "--yes")
    cancelled = other["dispatch"]["id"]
    assert shell.good("event", "cancel", cancelled) == f"Cancelled {cancelled}.\n"

    assert shell.good("report", "list", ven_id) == "Offered: none\nRequested: none\n"
    assert shell.good("report", "readings", ven_id) == "Readings: none\n"
    assert shell.good("fleet", "waiting") == "No certificate is waiting.\n"
    assert "VENs connect to https://127.0.0.1" in shell.good("status")
    assert "Revoked" in shell.good("fleet", "revoke", certificate["fingerprint"].lower())
    assert "Removed" in shell.good("fleet", "remove", ven_id, "--yes")
    assert "was removed" in shell.bad("fleet", "code", ven_id)
    told = shell.good("audit")
    assert {"remove VEN", "revoke certificate"} <= {part.strip() for part in re.split(r"\s{2,}|\n|│", told)}
    assert len(_json(shell, "audit", "--limit", "3")) == 3


def test_a_household_gets_a_token_for_its_own_tariffs(shell, live):
    ven_id = shell.good("fleet", "add", "Token home").split()[0]
    first = _json(shell, "fleet", "household-token", "Token home", "--days", "30")
    assert first["principal"]["role"] == "household"
    assert "choose another name" in shell.bad("fleet", "household-token", ven_id)
    second = shell.good("fleet", "household-token", ven_id, "--name", "Token home, phone")
    assert second.startswith("Token of Token home, phone: ")
    for token in (first["token"], second.split(": ")[1].strip()):
        asked = Request(f"{live.url}/v1/household/tariffs", headers={"Authorization": f"Bearer {token}"})  # noqa: S310  https
        with urlopen(asked, context=ssl.create_default_context(cafile=live.ca)) as answer:  # noqa: S310  as above
            assert [home["ven_id"] for home in json.load(answer)["items"]] == [ven_id]


def test_what_is_settled_is_shown_and_chosen(shell):
    ven_id = shell.good("fleet", "add", "Settled").split()[0]
    settled = _json(shell, "report", "settled", ven_id, "--connection-w", "24000")
    assert (settled["flow"], settled["connection_w"], settled["chosen_by"]) == ("none", 24000, "meaning")
    assert "It has sent no readings yet." in shell.good("report", "settled", ven_id)
    assert "--by-meaning" in shell.bad("report", "settled", ven_id, "--by-meaning", "--use", "1")


def test_where_a_ven_of_2_0a_is_pushed_to(shell, live):
    ven_id = shell.good("fleet", "add", "Older").split()[0]
    assert "not a public address" in shell.bad("fleet", "push", "Older", "https://10.0.0.1")
    said = shell.good("fleet", "push", "Older", "https://ven.example.com")
    assert said == "Events are pushed to https://ven.example.com.\n"
    shown = json.loads(shell.good("fleet", "show", ven_id, "--json"))["ven"]
    assert (shown["mode"], shown["address"]) == ("push", "https://ven.example.com")
    assert shell.good("fleet", "push", "Older") == "The VEN asks for its events.\n"


def test_removing_a_ven_is_asked_about_and_frees_its_name(shell):
    ven_id = shell.good("fleet", "add", "Short stay").split()[0]
    said = shell.bad("fleet", "remove", "Short stay")
    assert f"Short stay ({ven_id})" in said
    assert "Nothing was done" in said
    assert "Short stay" in shell.good("fleet", "show", ven_id)
    shell.good("fleet", "remove", "Short stay", "--yes")
    again = shell.good("fleet", "add", "Short stay").split()[0]
    assert again != ven_id
    assert _json(shell, "fleet", "show", "Short stay")["ven"]["id"] == again
    assert f"Short stay (removed, {ven_id})" in shell.good("fleet", "show", ven_id)


def test_names_work_wherever_ids_do(shell):
    programme = _programme(shell, "named programme")
    ids = [shell.good("fleet", "add", name).split()[0] for name in ("Named 1", "named 2", "Named 2")]
    assert shell.good("group", "create", "Heat pumps of named").strip().startswith("grp_")
    assert "2 VENs were put into" in shell.good("group", "add", "Heat pumps of named", "Named 1", ids[1])
    assert "Named 1" in shell.good("group", "show", "heat pumps of named")
    assert "1 VEN was taken out" in shell.good("group", "remove", "Heat pumps of named", "Named 1")
    assert "Pumps" in shell.good("group", "rename", "Heat pumps of named", "Pumps")
    assert "Pumps" in shell.good("group", "list")
    assert "stay" in shell.bad("group", "delete", "Pumps")
    assert "Deleted" in shell.good("group", "delete", "Pumps", "--yes")
    assert shell.good("programme", "enrol", "named programme", "Named 1", "Named 2") == "2 VENs take part.\n"
    assert "part no longer" in shell.bad("programme", "end", "named programme", "Named 2")
    assert "1 VEN takes part no longer" in shell.good("programme", "end", "named programme", "Named 2", "--yes")
    assert _json(shell, "programme", "show", "named programme")["ven_ids"] == [ids[0]]
    assert ids[2] in shell.good("fleet", "show", "Named 2"), "capitals decide where they can"
    said = shell.bad("fleet", "show", "NAMED 2")
    assert ids[1] in said
    assert ids[2] in said
    assert "no VEN called 'Nobody'" in shell.bad("report", "list", "Nobody")
    when = ("--start", _soon(shell, hours=500), "--duration", "PT1H")
    order = ("event", "dispatch", "named programme", *when, "--power-w", "-1500", "--ven", "Named 1", "--yes")
    made = _json(shell, *order)["dispatch"]["id"]
    assert made in shell.good("event", "show", "named programme")
    assert "PT2H" in shell.good("event", "change", "named programme", "--duration", "PT2H", "--power-w", "-900")
    signal = _json(shell, "event", "show", made)["dispatch"]["signals"][0]
    assert signal["intervals"] == [{"duration": "PT2H", "value": -900.0}]
    assert "Say what to change" in shell.bad("event", "change", made)
    other = _json(shell, *order)["dispatch"]["id"]
    said = shell.bad("event", "cancel", "named programme")
    assert made in said
    assert other in said
    shell.good("event", "cancel", other)
    _for_whom(shell, order)
    assert f"Cancelled {made}" in shell.good("event", "cancel", "named programme")
    assert programme in shell.good("programme", "list")


def test_brps_go_by_their_names(shell):
    brp_id = shell.good("market", "add-brp", "Named Energy").split()[0]
    assert "cli_" in shell.good("market", "add-client", "Named Energy", "second")
    assert len(_json(shell, "market", "clients", "named energy")) == 2
    contract = shell.good("market", "add-contract", "Named Energy", _programme(shell, "sold"))
    (listed,) = (each for each in _json(shell, "market", "contracts") if each["party_id"] == brp_id)
    assert listed["id"] in contract
    assert "no BRP called 'Nobody'" in shell.bad("market", "clients", "Nobody")


def test_another_power_of_a_running_dispatch_leaves_what_has_elapsed():
    old = {
        "start": "2026-01-12T12:00:00Z",
        "signals": [{"name": "LOAD_DISPATCH", "intervals": [{"duration": "PT1H", "value": -1000.0}]}],
    }
    now = datetime.fromisoformat("2026-01-12T12:20:30Z")
    changed = operate._changed(old, None, now, None, -500.0)
    assert changed["intervals"] == [{"duration": "PT21M", "value": -1000.0}, {"duration": "PT39M", "value": -500.0}]
    changed = operate._changed(old, None, now, "PT2H", None)
    assert changed["intervals"] == [{"duration": "PT2H", "value": -1000.0}]
    with pytest.raises(InvalidError, match="cancel it"):
        operate._changed(old, None, datetime.fromisoformat("2026-01-12T12:59:30Z"), None, -500.0)


def test_what_speaks_against_an_order_is_asked_about_before_it_goes_out(shell):
    programme = _programme(shell, "odd")
    ven_id = shell.good("fleet", "add", "Odd home").split()[0]
    shell.good("programme", "enrol", programme, ven_id)
    order = ("event", "dispatch", programme, "--start", _soon(shell, hours=400), "--duration", "PT1H")
    before = shell.good("event", "list")
    said = shell.bad(*order, "--power-w", "-1500000000")
    assert "Odd home is ordered 1,500,000,000 W" in said
    assert "Odd home is not registered" in said
    assert "Nothing was done" in said
    assert shell.good("event", "list") == before
    assert "1 event" in shell.good(*order, "--power-w", "-1500", "--yes")
    said = shell.bad(*order, "--power-w", "1500")
    assert "this order to increase contradicts it" in said


def test_where_the_options_stand_does_not_matter(terminal, live):
    access = ("--url", live.url, "--token", live.token, "--ca", live.ca)
    before = terminal.good("programme", *access, "--json", "list")
    after = terminal.good("programme", "list", *access, "--json")
    mixed = terminal.good("programme", *access, "list", "--json")
    assert json.loads(before) == json.loads(after) == json.loads(mixed)
    later = terminal.good("programme", "--token", "evl_wrong", "list", *access, "--json")
    assert json.loads(later) == json.loads(before), "what stands later counts"
    assert terminal.good("programme", *access, "--url", f"{live.url}/v1/", "list", "--json") == before


def test_operators_are_kept_beside_the_database(shell, live, monkeypatch):
    monkeypatch.setenv("EVENLOAD_CONFIG", str(live.config))
    token = shell.good("operator", "add", "bob", "--days", "1").strip()
    assert _json(shell, "fleet", "list", "--token", token) is not None
    assert "needs the role admin" in shell.bad("fleet", "add", "X", "--token", token)
    assert "exists already" in shell.bad("operator", "add", "bob")
    assert "Unknown role 'boss'" in shell.bad("operator", "add", "eve", "--role", "boss")
    assert "bob" in shell.good("operator", "list")
    assert _json(shell, "operator", "add", "carl", "--role", "dispatcher")["role"] == "dispatcher"
    unused = shell.good("operator", "add", "dora").strip()
    shell.good("operator", "revoke", "dora")
    assert "revoked" in shell.bad("fleet", "list", "--token", unused)
    assert "No principal 'nobody'" in shell.bad("operator", "revoke", "nobody")


def test_backup_and_restore(shell, live, tmp_path, monkeypatch):
    monkeypatch.setenv("EVENLOAD_CONFIG", str(live.config))
    shell.good("fleet", "add", "Kept")
    file = tmp_path / "backup.gz"
    assert f"Wrote {file}" in shell.good("backup", file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "is there already" in shell.bad("restore", file)
    assert "is a directory" in shell.bad("backup", tmp_path)
    assert "cannot be written" in shell.bad("backup", tmp_path / "no" / "x.gz")
    monkeypatch.setenv("EVENLOAD_DATABASE", f"sqlite:///{tmp_path / 'other.db'}")
    assert "no backup at" in shell.bad("restore", tmp_path / "nothing.gz")
    (tmp_path / "broken.gz").write_bytes(b"not a backup")
    assert "damaged" in shell.bad("restore", tmp_path / "broken.gz")
    assert "no database at" in shell.bad("backup", tmp_path / "x.gz")
    assert "Restored" in shell.good("restore", file)
    assert "admin" in shell.good("operator", "list")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("programme", "create", "P", "--market-context", "evening peak"), "absolute URI"),
        (("programme", "create", "P", "--market-context", "http://x/z", "--notification", "10 minutes"), "duration"),
        (("programme", "create", "P", "--market-context", "http://x/z", "--time-zone", "Mars"), "IANA"),
        (("programme", "create", "", "--market-context", "http://x/z"), "/name"),
        (("programme", "show", "prg_x"), "No programme 'prg_x'"),
        (("programme", "change", "prg_x"), "No programme 'prg_x'"),
        (("programme", "enrol", "prg_x", "ven_x"), "No programme 'prg_x'"),
        (("fleet", "show", "ven_x"), "No VEN 'ven_x'"),
        (("fleet", "show", "../status"), "There is no VEN called '../status'"),
        (("report", "cancel", "../status"), "check the id"),
        (("fleet", "code", "ven_x"), "No VEN 'ven_x'"),
        (("fleet", "revoke", "12:34"), "such as 51:65:"),
        (("fleet", "accept", "ven_x"), "either --fingerprint"),
        (("fleet", "accept", "ven_x", "--pem", "/nothing/here.pem"), "/nothing/here.pem"),
        (("fleet", "reregister", "ven_x"), "is registered"),
        (("fleet", "unregister", "ven_x"), "is registered"),
        (("report", "list", "ven_x"), "No VEN 'ven_x'"),
        (("report", "readings", "ven_x"), "No VEN 'ven_x'"),
        (("report", "cancel", "rrq_x"), "No report request 'rrq_x'"),
        (("report", "request", "ven_x", "usage", "meter"), "No VEN 'ven_x'"),
        (("event", "show", "dsp_x"), "No dispatch 'dsp_x'"),
        (("event", "cancel", "dsp_x"), "No dispatch 'dsp_x'"),
        (("event", "result", "dsp_x"), "No dispatch 'dsp_x'"),
    ],
)
def test_a_wrong_word_is_named(shell, arguments, words):
    assert words in shell.bad(*arguments)


def test_a_wrong_order_is_named(shell):
    programme = _programme(shell, "wrong")

    def order(start="2199-01-01T00:00:00Z", duration="PT1H", power="-1000", code=1, programme_id=programme):
        when = ("--start", start, "--duration", duration, "--power-w", power)
        return shell.bad("event", "dispatch", programme_id, *when, code=code)

    assert "No VEN is enrolled" in order()
    ven_id = shell.good("fleet", "add", "Wrong home").split()[0]
    shell.good("programme", "enrol", programme, ven_id)
    assert "has passed" in order(start="2020-01-01T00:00:00Z")
    assert "with zone" in order(start="2199-01-01T00:00:00", code=2)
    assert "with zone" in order(start="tomorrow", code=2)
    assert "'1h' is not a duration" in order(duration="1h")
    assert "orders nothing" in order(power="0")
    assert "NaN is not JSON" in order(power="nan")
    assert "1000000000000" in order(power="1e30")
    assert "--power-w" in order(power="much", code=2)
    assert "No programme 'prg_x'" in order(programme_id="prg_x")
    assert "2199" in order(start="2199-12-31T23:59:00Z")


def test_who_cannot_reach_the_vtn_hears_why(terminal, live, tmp_path, monkeypatch):
    here = ("--url", live.url, "--ca", live.ca)
    token = ("--token", live.token)
    assert "No token" in terminal.bad("status", *here)
    assert "unknown, revoked or expired" in terminal.bad("status", *here, "--token", "evl_no")
    assert "not a token" in terminal.bad("status", *here, "--token", "evl_no\n")
    assert "Pass its CA with --ca" in terminal.bad("status", "--url", live.url, *token)
    assert "is not a readable file" in terminal.bad("status", "--url", live.url, *token, "--ca", tmp_path / "x")
    (tmp_path / "not.pem").write_text("nothing")
    assert "is not a readable file" in terminal.bad("status", "--url", live.url, *token, "--ca", tmp_path / "not.pem")
    assert "not an address" in terminal.bad("status", *token, "--url", "127.0.0.1:8444")
    assert "use https" in terminal.bad("status", *token, "--url", "http://vtn.example:8444")
    monkeypatch.setattr("evenload.client._FIRST_PAUSE_S", 0.0)
    assert "Is the VTN running" in terminal.bad("status", *token, "--url", "https://127.0.0.1:1")
    assert "Is the VTN running" in terminal.bad("status", *token, "--url", "https://nobody.invalid:8444")


def _commands(group, path=()):
    """Yield the words of every command and group."""
    yield path
    for name, one in _below(group) if hasattr(group, "list_commands") else ():
        yield from _commands(one, (*path, name))


def _below(group):
    """Return what is in a group, by name."""
    return [(name, group.get_command(None, name)) for name in sorted(group.list_commands(None))]


def test_every_command_explains_itself(terminal):
    found = list(_commands(typer.main.get_command(app)))
    assert len(found) > 45
    for words in found:
        told = terminal.good(*words, "--help")
        assert "Usage: " in told, words


def test_every_command_and_option_has_a_word_of_help():
    silent = []

    def look(group, path=()):
        for name, one in _below(group):
            if not (one.help or "").strip():
                silent.append((*path, name))
            silent.extend((*path, name, each.name) for each in one.params if not getattr(each, "help", "told"))
            if hasattr(one, "list_commands"):
                look(one, (*path, name))

    look(typer.main.get_command(app))
    ours = [words for words in silent if words[0] not in ("certs", "ven", "explain")]
    assert ours == []


def test_a_mistyped_command_is_guessed(terminal):
    assert "Did you mean 'status'?" in terminal.bad("stauts", code=2)


def test_a_command_loads_what_it_needs_and_no_more():
    script = "import sys; from evenload.cli import main\ntry: main(['status', '--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'lxml', 'ven', 'bridges', 'cryptography', 'sqlalchemy', 'numpy'} & sys.modules.keys()))"
    told = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert told.splitlines()[-1] == "[]"


def test_files_that_are_not_there(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (("vtn",), ("operator", "list"), ("operator", "add", "x"), ("backup", "x"), ("restore", "x")):
        assert "vtn.toml: no such file" in terminal.bad(*words)
    (tmp_path / "vtn.toml").write_text("vtn_id = ")
    assert "not TOML" in terminal.bad("operator", "list")
    (tmp_path / "vtn.toml").write_text('database = "mysql://x"\n[openadr]\ninsecure = true\n')
    assert "'mysql' is no database" in terminal.bad("operator", "list")


def test_a_new_vtn_says_how_to_go_on(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = terminal.good("vtn", "init", "mine", "--host", "vtn.example.com")
    assert "evenload vtn --config mine/vtn.toml" in told
    assert f"EVENLOAD_CA={tmp_path}/mine/ca/ca.pem" in told
    assert "not empty" in terminal.bad("vtn", "init", "mine")
    made = json.loads(terminal.good("vtn", "init", "other", "--json"))
    assert made["token"].startswith("evl_")
    assert "--host NAME" in terminal.good("vtn", "init", "third")
    assert "neither a DNS name" in terminal.bad("vtn", "init", "fourth", "--host", "no good")
    assert not (tmp_path / "fourth").exists()


def test_what_is_not_installed_is_named(terminal, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("evenload.cli.find_spec", lambda name: None if name in {"sqlalchemy", "numpy"} else real(name))
    for words in (("vtn",), ("vtn", "init", tmp_path / "x"), ("backup", "x"), ("operator", "list"), ("demo",)):
        complaint = terminal.bad(*words)
        assert "sqlalchemy, numpy" in complaint
        assert "pip install 'evenload[server]'" in complaint


def test_a_log_level_that_there_is_not_is_named(terminal):
    assert "use debug, info, warning or error" in terminal.bad("--log-level", "loud", "status")


def test_the_version_is_told(terminal):
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", terminal.good("--version"))


def test_a_comparison_of_baselines_says_what_its_figures_are(shell, monkeypatch):
    context = "http://example.com/compared"
    programme = shell.good("programme", "create", "compared", "--market-context", context).strip()
    hours = ("--start", "17:00", "--duration", "PT2H")
    assert "`evenload programme enrol`" in shell.good("programme", "baselines", programme, *hours)
    asked = OperatorClient.get

    async def get(client, path, *more):
        found = await asked(client, path, *more)
        if path.endswith("/baselines"):
            figures = {"pool_rmse": 0.0123, "bias": -0.0004, "home_rmse": 0.2, "days": 9}
            found |= {"enrolled": 1, "vens": 1, "presets": [one | figures for one in found["presets"][:1]]}
        return found

    monkeypatch.setattr(OperatorClient, "get", get)
    _, head, figures, told = shell.good("programme", "baselines", programme, *hours).splitlines()
    assert head.split() == ["preset", "pool", "error", "bias", "home", "error", "days"]
    assert figures.split()[1:] == ["1.2", "0.0", "20.0", "9"]
    assert told.startswith("Pool error: ")


def test_a_control_group_is_named_and_drawn(shell):
    name = _programme(shell, "controlled")
    group = shell.good("group", "create", "left alone").strip()
    changed = ("programme", "change", name, "--baseline", "control-group")
    assert "name a group" in shell.bad(*changed)
    shell.good(*changed, "--control-group", "left alone")
    assert _json(shell, "programme", "show", name)["parameters"]["control_group"] in group
    assert "has a control group already" in shell.bad("programme", "control-group", name, "--share", "10")
    shell.good("programme", "change", name, "--baseline", "10of10", "--control-group", "")
    assert _json(shell, "programme", "show", name)["parameters"]["control_group"] is None
    homes = [f"drawn {number}" for number in range(20)]
    for home in homes:
        shell.good("fleet", "add", home)
    shell.good("programme", "enrol", name, *homes)
    told = shell.good("programme", "control-group", name, "--share", "50", "--seed", "4", "--name", "by chance")
    assert told.startswith("10 of 20 VENs are in the control group 'by chance' (grp_")
    assert told.endswith("drawn with seed 4.\n")


def test_a_season_is_told_event_by_event_and_ven_by_ven(shell, monkeypatch):
    context = "http://example.com/season"
    programme = shell.good("programme", "create", "season", "--market-context", context).strip()
    assert "0 events" in shell.good("programme", "season", programme)
    assert (
        _json(shell, "programme", "season", programme, "--first", "2026-01-01", "--until", "2026-02-01")["events"] == []
    )
    assert "yet" in shell.good("programme", "season", programme, "--vens")
    assert "2026-01-31" in shell.bad("programme", "season", programme, "--first", "2026-02-31")
    asked = OperatorClient.get

    async def get(client, path, *more):
        found = await asked(client, path, *more)
        if path.endswith("/season"):
            sums = {"events": 2, "measured": 1, "ordered_wh": 2000.0, "delivered_wh": 1600.0, "ratio": 0.8}
            found["sums"] |= sums | {"uncertainty_wh": 150.0, "called": 9, "opted_out": 2}
        return found

    monkeypatch.setattr(OperatorClient, "get", get)
    told = shell.good("programme", "season", programme)
    assert (
        "2 events, of 1 the delivery is known. Delivered 1.60 \N{PLUS-MINUS SIGN} 0.15 of 2.00 kWh (80%), 2 opt-outs"
        in told
    )
