"""Every session taps its sockets: each OpenADR message that we send is judged by the official schema."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from support import postgres, tap_plugin
from support.databases import postgresql_url
from support.quick import (
    collect_garbage_seldom,
    pytest_collection_finish,
    share_compiled_statements,
    share_compiled_templates,
)
from support.tap_plugin import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["postgresql_url", "pytest_collection_finish", "pytest_sessionfinish", "pytest_terminal_summary"]

collect_garbage_seldom()
share_compiled_statements()
share_compiled_templates()

settings.register_profile("evenload", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("evenload")

_LEFT_TO_DRILLS: Final = tuple(
    Path(__file__).parent / name
    for name in (
        "aggregator/simulation",
        "benchmarks/test_bridges_run.py",
        "benchmarks/test_tiny_run.py",
        "bridges/discovery/test_converters.py",
        "browser",
        "demo/test_demo_faults.py",
        "demo/test_demo_story.py",
        "demo/test_recomputed.py",
        "drills",
        "fuzz/test_guided.py",
        "install",
        "interop/test_generated_clients.py",
        "interop/test_pyoadr_ven.py",
    )
)
"""What takes minutes, for it waits for processes, clocks and pages, or plays a season."""

_TOGETHER = {
    "tests/demo/test_demo_story.py": "story",
    "tests/demo/test_recomputed.py": "story",
    "tests/aggregator/simulation/": "season",
    "tests/evenload/test_commands.py": "live",
    "tests/evenload/test_brp.py": "live",
    "tests/conformance/vens/": "kit for VENs",
    "tests/conformance/": "kit",
    "tests/install/": "install",
    "tests/interop/test_pyoadr_ven.py": "pyOADR-VEN",
    "tests/drills/test_kill.py::test_killed_gateways": "drills 1",
    "tests/drills/test_kill.py::test_a_killed_broker": "drills 2",
    "tests/drills/test_kill.py": "drills 3",
    "tests/drills/test_two_vtns.py": "two VTNs",
    "tests/drills/test_zigbee2mqtt.py": "zigbee2mqtt",
    "tests/demo/test_demo_faults.py": "faults",
    "tests/fuzz/test_guided.py": "guided fuzzing",
}
"""Tests that share what is costly, and those that mostly wait for others' clocks: each group has a worker for itself,
while the other workers compute."""


class _Grouping(LoadScopeScheduling):
    """Deals out single tests, and groups as a whole; groups first, as they last longest."""

    def _split_scope(self, nodeid: str) -> str:
        return next((group for place, group in _TOGETHER.items() if nodeid.startswith(place)), nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what all workers share."""
    tap_plugin.pytest_configure(config)
    postgres.share(config)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make drills` ask for what `make test` leaves out."""
    parser.addoption("--drills", action="store_true", help="run what takes minutes, and nothing else")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave to `make drills` what is its, and the rest to `make test`; what is named runs anyway."""
    if config.getoption("drills"):
        own = any(path == collection_path or path in collection_path.parents for path in _LEFT_TO_DRILLS)
        return None if own or any(collection_path in path.parents for path in _LEFT_TO_DRILLS) else True
    if collection_path not in _LEFT_TO_DRILLS:
        return None
    named = ((config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args)
    return None if any(path == collection_path or collection_path in path.parents for path in named) else True


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Grouping:
    """Have xdist group by place: its own `loadgroup` does not work with the present pytest."""
    return _Grouping(config, log)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo what a command under test did to logging: it belongs to that command's process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
