"""`evenload holiday`, `outage` and `temperature`, and files of meter data, against a server."""

import json


def _programme(shell, name, *more):
    context = f"http://example.com/{name}"
    return shell.good("programme", "create", name, "--market-context", context, *more).strip()


def _days(shell, programme):
    found = json.loads(shell.good("holiday", "list", programme, "--year", "2026", "--json"))
    return {one["day"]: (one["name"], one["own"]) for one in found["days"]}


def test_holidays_of_a_country_and_ones_own(shell):
    programme = _programme(shell, "holidays", "--country", "DE", "--subdivision", "BY")
    assert _days(shell, programme)["2026-05-01"] == ("Labor Day", False)
    assert "2026-12-24 counts as a holiday" in shell.good("holiday", "add", "holidays", "2026-12-24", "Eve")
    assert _days(shell, programme)["2026-12-24"] == ("Eve", True)
    assert "Eve" in shell.good("holiday", "list", programme, "--year", "2026")
    assert "ordinary day again" in shell.good("holiday", "remove", programme, "2026-12-24")
    assert "2026-12-24" not in _days(shell, programme)
    assert "no country" in shell.bad("programme", "change", programme, "--country", "XX")
    shell.good("programme", "change", programme, "--country", "FR")
    assert "2026-07-14" in _days(shell, programme)
    shell.good("programme", "change", programme, "--country", "")
    assert _days(shell, programme) == {}
    assert "no country (`evenload programme change --country`)" in shell.good("holiday", "list", programme)


def test_an_own_holiday_on_a_public_one_hides_nothing(shell):
    programme = _programme(shell, "both", "--country", "DE")
    shell.good("holiday", "add", programme, "2026-05-01", "Works outing")
    (line,) = [one for one in shell.good("holiday", "list", programme, "--year", "2026").splitlines() if "05-01" in one]
    assert line.split() == ["2026-05-01", "Works", "outing", "yes", "Labor", "Day"]
    said = shell.good("holiday", "remove", programme, "2026-05-01")
    assert said.strip() == "2026-05-01 remains a public holiday: Labor Day."
    assert "name of 1 to 80" in shell.bad("holiday", "add", programme, "2026-12-24", "  ")
    assert "name of 1 to 200" in shell.bad("programme", "change", programme, "--name", "  ")
    assert "2026-02-30" in shell.bad("holiday", "add", programme, "2026-02-30", "never", code=2)


def test_an_outage_from_its_start_to_its_removal(shell):
    made = shell.good("outage", "add", "Cable", "--start", "2026-01-05T10:00:00Z").strip()
    listed = {one["id"]: one for one in json.loads(shell.good("outage", "list", "--json"))}
    assert (listed[made]["reason"], listed[made]["ends_at"]) == ("Cable", None)
    assert "2026-01-05T12:00:00Z" in shell.good("outage", "end", made, "--end", "2026-01-05T13:00:00+01:00")
    assert "ended" in shell.bad("outage", "end", made, "--end", "2026-01-05T12:00:00Z")
    shell.good("outage", "remove", made)
    assert made not in shell.good("outage", "list", "--json")
    assert "No VEN stands" in shell.bad("outage", "add", "x", "--start", "2026-01-05T10:00:00Z", "--area", "nowhere")


def test_meter_data_of_a_file_is_taken_row_by_row(shell, tmp_path):
    path = tmp_path / "meters.csv"
    path.write_text("metering_point,series,start,end,energy_wh,quality\nMP-nobody,import,a,b,1,validated\n")
    said = shell.good("report", "import", str(path))
    assert "0 rows taken, 1 refused." in said
    assert "No VEN has this metering point." in said
    path.write_text("")
    assert "empty" in shell.bad("report", "import", str(path))
    path.write_text("a,b\n1,2\n")
    assert "names the columns" in shell.bad("report", "import", str(path))


def test_temperatures_of_a_file_are_taken_row_by_row_and_listed(shell, tmp_path):
    path = tmp_path / "warm.csv"
    path.write_text("area,time,celsius\n,2026-01-05T10:00:00Z,-3.5\n,2026-01-05T11:00:00Z,2\nnowhere,now,1\n")
    said = shell.good("temperature", "import", str(path))
    assert "2 rows taken, 1 refused." in said
    assert "No VEN stands in an area 'nowhere'." in said
    ask = ("temperature", "list", "--start", "2026-01-05T10:00:00Z", "--end", "2026-01-05T11:00:00Z")
    listed = json.loads(shell.good(*ask, "--json"))
    assert [(one["area"], one["time"], one["celsius"]) for one in listed] == [
        (None, "2026-01-05T10:00:00Z", -3.5),
        (None, "2026-01-05T11:00:00Z", 2.0),
    ]
    assert "-3.5" in shell.good(*ask)
    assert json.loads(shell.good(*ask, "--area", "", "--json")) == listed
    assert json.loads(shell.good(*ask, "--area", "north", "--json")) == []
    assert "-3.5" not in shell.good("temperature", "list"), "from 24 hours ago on"
    path.write_text("a,b\n1,2\n")
    assert "names the columns" in shell.bad("temperature", "import", str(path))
