import gzip
from datetime import date
from pathlib import Path

import pytest

from core.errors import InvalidError, NotFoundError
from evenload.demo.data import DATA_ENV, data_dir, load_series


def test_the_checkout_has_the_data_and_days_with_real_gaps_are_left_out():
    one, two, zero = load_series(data_dir())
    assert (len(one.days), len(two.days), len(zero.days)) == (365, 363, 365)
    assert {date(2013, 3, 26), date(2013, 8, 5)}.isdisjoint(two.days)
    assert all(len(day) == 48 and min(day) >= 0 for home in (one, two, zero) for day in home.days.values())


def test_values_are_the_files_own_in_wh_and_hours_are_split_evenly():
    one, two, zero = load_series(data_dir())
    assert one.days[date(2013, 1, 1)][:4] == (219, 241, 191, 235)
    assert two.days[date(2013, 12, 31)][-2:] == (60, 89)
    assert zero.days[date(2021, 1, 1)][:4] == (150, 150, 140, 140)


def test_missing_data_is_a_clear_error_that_names_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(NotFoundError, match=DATA_ENV):
        data_dir(tmp_path)
    monkeypatch.setenv(DATA_ENV, str(tmp_path / "elsewhere"))
    with pytest.raises(NotFoundError, match="elsewhere"):
        data_dir()


def test_the_environment_names_another_folder(tmp_path, monkeypatch):
    for file in data_dir().glob("*.gz"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv(DATA_ENV, str(tmp_path))
    assert data_dir() == tmp_path


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"a,b\n1,2\n"), gzip.compress(b"start_utc,household_1_kwh\nnever,1\n")],
    ids=["no gzip", "other columns", "no time"],
)
def test_another_file_is_an_error_that_names_it(tmp_path: Path, content):
    name = "uk-households-2013-halfhourly.csv.gz"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidError, match=name):
        load_series(tmp_path)
