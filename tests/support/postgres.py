"""One PostgreSQL server for a test session and all its workers, and a fresh database for a test.

The server runs as an unprivileged user (PostgreSQL refuses root) on a free loopback port, with its socket in a short
directory. The worker that needs it first makes it; the session ends it, by pid. Nothing is synced to the disk: no test
cuts its power, and what a server has written survives its own crash.
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest

from evenload.demo.processes import free_port
from vtn.store import Database

T = TypeVar("T")

_DEADLINE_S = 60
_SHARED = "EVENLOAD_TEST_POSTGRESQL"
_TOOLS = ("postgres", "initdb", "createdb", "dropdb", "pg_isready")
_HINT = "no PostgreSQL server found: install the Debian package `postgresql` (it need not run)"
_TEMPLATE = "template_evenload"


class Cluster:
    """A PostgreSQL server with a template database that has the schema, in a directory that workers share."""

    def __init__(self, binaries: Path, directory: Path) -> None:
        """Find the running server of that directory, or make and start it."""
        self._binaries = binaries
        self._user = _unprivileged_user()
        self._numbers = itertools.count(1)
        self._directory = directory
        self._own: str | None = None
        self._right: object = None
        self._cleaner: _Cleaner | None = None
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ready = directory / "port"
            if not ready.exists():
                self._port = free_port()
                self._make()
                ready.write_text(str(self._port))
            self._port = int(ready.read_text())

    def _make(self) -> None:
        if self._user is not None:
            os.chown(self._directory, self._user.pw_uid, self._user.pw_gid)
        data = str(self._directory / "data")
        self._run("initdb", "-D", data, "-U", "evenload", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N")
        self._start()
        self._admin("createdb", _TEMPLATE)
        _in_thread(_migrate(self.url(_TEMPLATE)))

    def url(self, database: str) -> str:
        """Return the URL of a database, as users write it."""
        return f"postgresql://evenload@127.0.0.1:{self._port}/{database}"

    @contextlib.contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """Make a database, with the schema or empty; yields its URL and drops it afterwards."""
        name = f"t{os.getpid()}_{next(self._numbers)}"
        self._admin("createdb", "-T", _TEMPLATE if migrated else "template0", name)
        try:
            yield self.url(name)
        finally:
            self._admin("dropdb", "--force", name)

    @contextlib.contextmanager
    def emptied(self) -> Iterator[str]:
        """Yield the URL of a database with the schema and nothing in it: this worker's own, used again and again.

        That takes a tenth of the time of a new one. What a test has done to the schema costs it its database.
        """
        if self._own is None or self._cleaner is None:
            self._own = f"w{os.getpid()}_{next(self._numbers)}"
            self._admin("createdb", "-T", _TEMPLATE, self._own)
            self._cleaner = _Cleaner(self.url(self._own))
            self._right = self._cleaner.emptied_schema()
        try:
            yield self.url(self._own)
        finally:
            if self._cleaner.emptied_schema() != self._right:
                self.close()
                self._admin("dropdb", "--force", self._own)
                self._own = None

    def close(self) -> None:
        """Close the connection to this worker's own database."""
        if self._cleaner is not None:
            self._cleaner.close()
            self._cleaner = None

    def _start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._directory,
            "fsync": "off",
            "max_connections": 300,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            server = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._directory / "data", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,  # other workers use it after this one has ended
                **self._as_user(),
            )
        deadline = time.monotonic() + _DEADLINE_S
        command = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(command, check=False).returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self._directory / 'log').read_text(errors='replace')}")
            time.sleep(0.05)
        server.returncode = 0  # not ours to wait for: `share` ends it

    def _admin(self, tool: str, *arguments: str) -> None:
        where = ("-h", "127.0.0.1", "-p", str(self._port), "-U", "evenload")
        self._run(tool, *where, *arguments)

    def _run(self, tool: str, *arguments: str) -> None:
        command = [self._binaries / tool, *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self._directory, **self._as_user()
        )
        if done.returncode != 0:
            pytest.fail(f"{tool} failed: {done.stderr or done.stdout}")

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}


_CLUSTER = pytest.StashKey[Cluster]()


def cluster(config: pytest.Config) -> Cluster:
    """Return the session's cluster, started on first use. Skips (fails where CI is set) without PostgreSQL."""
    if _CLUSTER not in config.stash:
        binaries = _find_binaries()
        if binaries is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(_HINT)
        made = config.stash[_CLUSTER] = Cluster(binaries, Path(os.environ[_SHARED]))
        config.add_cleanup(made.close)
    return config.stash[_CLUSTER]


@contextlib.contextmanager
def serving() -> Iterator[Cluster]:
    """Start a server that ends with this; for what is no test. Raises FileNotFoundError without PostgreSQL."""
    binaries = _find_binaries()
    if binaries is None:
        raise FileNotFoundError(_HINT)
    place = Path(tempfile.mkdtemp(prefix="evpg"))
    try:
        yield Cluster(binaries, place)
    finally:
        _end(place)


def share(config: pytest.Config) -> None:
    """Give the workers of this session a place for the server, and end it with the session; call when configured."""
    if not hasattr(config, "workerinput"):
        place = Path(tempfile.mkdtemp(prefix="evpg"))
        os.environ[_SHARED] = str(place)
        config.add_cleanup(lambda: _end(place))


def _end(place: Path) -> None:
    """End the server of that directory, if there is one, and remove its files."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        pid = int((place / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + _DEADLINE_S
        while (place / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    shutil.rmtree(place, ignore_errors=True)


def _find_binaries() -> Path | None:
    """Look on the path, then where Debian keeps the servers, newest first."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    debian = Path("/usr/lib/postgresql")
    found += sorted(debian.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return next((path for path in found if all((path / tool).exists() for tool in _TOOLS)), None)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Return whom to run the server as, or None where the tests are unprivileged themselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


_EMPTY = """
DO $$ DECLARE name text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences;
END $$
"""
_SCHEMA = """
SELECT string_agg(format('%s.%s %s', table_name, column_name, data_type), ',' ORDER BY 1),
    (SELECT string_agg(version_num, ',') FROM alembic_version)
FROM information_schema.columns WHERE table_schema = 'public'
"""


class _Cleaner:
    """One connection that empties a database, on a loop of its own: the test may have one already.

    It is kept, since a new one reads the catalogue of all tables first, which takes longer than all the rest.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._runner = asyncio.Runner()
        self._pool = ThreadPoolExecutor(1)
        self._connection: asyncpg.Connection | None = None

    def emptied_schema(self) -> object:
        """Throw away what the database holds and whoever is connected, and return what its schema is."""
        return self._pool.submit(self._runner.run, self._emptied_schema()).result()

    def close(self) -> None:
        """Close the connection."""
        self._pool.submit(self._runner.run, self._end()).result()
        self._pool.submit(self._runner.close).result()
        self._pool.shutdown()

    async def _emptied_schema(self) -> object:
        try:
            return await self._empty()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await self._end()  # a test ends connections, this one too
            return await self._empty()

    async def _empty(self) -> object:
        if self._connection is None:
            self._connection = await asyncpg.connect(self._url)
        await self._connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await self._connection.execute(_EMPTY)
        return await self._connection.fetchrow(_SCHEMA)

    async def _end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
            await asyncio.sleep(0)  # closes its socket


async def _migrate(url: str) -> None:
    database = await Database.open(url)
    await database.close()


def _in_thread(work: Coroutine[object, object, T]) -> T:
    """Run something on a loop of its own: the test may have one already."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
