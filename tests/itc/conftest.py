"""A broker for all cases of a module, and homes at it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.broker import Broker, mosquitto
from support.itc_home import Asset, Home


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Yield a Mosquitto."""
    with mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def home(broker: Broker, tmp_path: Path) -> Callable[..., Home]:
    """Return a maker of homes whose devices are at the broker."""

    def make(assets: Asset | dict[str, Asset], *, name: str = "", **more: Any) -> Home:
        return Home(tmp_path / f"{tmp_path.name}{name}", broker, assets, **more)

    return make
