"""What makes a session of thousands of short-lived databases quick; the product needs none of it."""

import gc
from typing import Any

import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vtn.store import engines

_FIRST: dict[str, Engine] = {}


def share_compiled_statements() -> None:
    """Let all engines of a kind use the statements that the first one compiled: a test's engine lives for a second.

    A sixth of the time of tests with a database. SQLAlchemy has no public way: its cache belongs to an engine, and its
    keys name the dialect object, which only its own engine makes ready, when it first connects.
    """
    create = engines.create_async_engine

    def sharing(url: str, **options: Any) -> AsyncEngine:
        made = create(url, **options)
        own = made.sync_engine
        first = _FIRST.setdefault(url, own)
        if first.dialect.server_version_info is None:  # it has never connected, and may never do
            first = _FIRST[url] = own
        own.dialect, own._compiled_cache = first.dialect, first._compiled_cache
        return made

    engines.create_async_engine = sharing  # type: ignore[assignment]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what is there before the first test out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
