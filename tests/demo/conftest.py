import pytest

from evenload.demo.data import data_dir, load_series


@pytest.fixture(scope="session")
def series():
    return load_series(data_dir())
