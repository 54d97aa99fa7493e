"""What makes a session of thousands of short-lived databases quick; the product needs none of it."""

import gc
from typing import Any

import pytest
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vtn.store import engines
from web.pages import templating

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


class _Templates(BytecodeCache):
    """Compiled templates by file and source, for all environments: those of our pages are all made alike."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], Any] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key, bucket.checksum] = bucket.code


def share_compiled_templates() -> None:
    """Let all consoles use the templates that the first one compiled: a third of the time of tests of pages."""
    create, compiled = templating.Environment, _Templates()

    def sharing(**options: Any) -> Any:
        return create(bytecode_cache=compiled, **options)

    templating.Environment = sharing  # type: ignore[assignment, misc]


def collect_garbage_seldom() -> None:
    """Look for garbage a thirtieth as often: importing and collecting make thousands of things that stay."""
    gc.set_threshold(20_000, 20, 50)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what is there before the first test out of every later garbage collection."""
    gc.collect()
    gc.freeze()
