import json

import pytest
from demo.told import tell

from evenload.demo.data import data_dir, load_series
from support.once import once


@pytest.fixture(scope="session")
def series():
    return load_series(data_dir())


@pytest.fixture(scope="session")
def story(tmp_path_factory, worker_id):
    """The directory of a run of the whole demo, and its JSON; one run serves all tests."""
    with once(tmp_path_factory, worker_id, "story") as (place, fresh):
        if fresh:
            told = tell(place)
            assert told.code == 0, told.printed
        return place / "run", json.loads((place / "out.json").read_text(encoding="utf-8"))
