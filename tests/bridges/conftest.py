"""Makes `tests/support` importable, and logs independent of what other tests configured."""

import sys
from pathlib import Path

import pytest
import structlog

from bridges import backlog, connected_device, journal, leases, templated
from bridges.connections import mqtt, mqtt_session
from bridges.drivers import iflex

TESTS = str(Path(__file__).resolve().parents[1])
if TESTS not in sys.path:
    sys.path.insert(0, TESTS)


@pytest.fixture(autouse=True)
def plain_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test structlog's defaults: a command-line test may have pointed the loggers at a closed stream."""
    structlog.reset_defaults()
    for module in (backlog, journal, leases, mqtt, mqtt_session, connected_device, iflex, templated):
        monkeypatch.setattr(module, "_log", structlog.get_logger(module.__name__))
