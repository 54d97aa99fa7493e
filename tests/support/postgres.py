"""One PostgreSQL cluster for a test session, and a fresh database for a test.

The cluster runs as an unprivileged user (PostgreSQL refuses root) on a free loopback port, with its socket in a short
directory, and is ended with the session, by pid. Nothing is synced to the disk: no test cuts its power, and what a
server has written survives its own crash.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evenload.demo.stage import free_port
from vtn.store import Database

_DEADLINE_S = 60
_SHARED = "EVENLOAD_TEST_POSTGRESQL"
_TOOLS = ("postgres", "initdb", "createdb", "dropdb", "pg_isready")
_HINT = "no PostgreSQL server found: install the Debian package `postgresql` (it need not run)"


class Cluster:
    """A running PostgreSQL server with a template database that has the schema."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._user = _unprivileged_user()
        self._numbers = itertools.count(1)
        self.directory = Path(tempfile.mkdtemp(prefix="evpg"))
        if self._user is not None:
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self.port = free_port()
        with _turn() as finished:
            if not finished.exists():
                self._make(finished)
        shutil.copytree(finished, self._data, copy_function=shutil.copy)
        self._own(self.directory)
        self.process = self._start()
        try:
            self._await_ready()
        except BaseException:
            self.stop()
            raise

    def _make(self, finished: Path) -> None:
        """Make the files of a cluster whose template database has the schema: it takes seconds, so workers share it."""
        self._run("initdb", "-D", self._data, "-U", "evenload", "--auth=trust", "--encoding=UTF8", "--no-locale", "-N")
        self.process = self._start()
        try:
            self._await_ready()
            self._admin("createdb", "template_evenload")
            _in_thread(_migrate, self.url("template_evenload"))
        finally:
            self._signal(signal.SIGINT)
        shutil.move(self._data, finished)

    def _own(self, directory: Path) -> None:
        """Give what was copied to the server's user; PostgreSQL wants its directory for itself."""
        (directory / "data").chmod(0o700)
        if self._user is not None:
            for path in (directory, *directory.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def url(self, database: str) -> str:
        """Return the URL of a database, as users write it."""
        return f"postgresql://evenload@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """Make a database, with the schema or empty; yields its URL and drops it afterwards."""
        name = f"t{next(self._numbers)}"
        self._admin("createdb", "-T", "template_evenload" if migrated else "template0", name)
        try:
            yield self.url(name)
        finally:
            self._admin("dropdb", "--force", name)

    def restart(self) -> None:
        """Stop the server at once, as a crash would, and start it again on the same port."""
        self._signal(signal.SIGQUIT)
        self.process = self._start()
        self._await_ready()

    def stop(self) -> None:
        """End the server and remove its files."""
        self._signal(signal.SIGINT)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: int) -> None:
        self.process.send_signal(number)
        try:
            self.process.wait(_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.directory,
            "fsync": "off",
            "max_connections": 60,
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                **self._as_user(),
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        command = [self._binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(command, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not start:\n{(self.directory / 'log').read_text(errors='replace')}")
            time.sleep(0.05)

    def _admin(self, tool: str, *arguments: str) -> None:
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "evenload")
        self._run(tool, *where, *arguments)

    def _run(self, tool: str, *arguments: str) -> None:
        command = [self._binaries / tool, *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=self.directory, **self._as_user()
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
        config.stash[_CLUSTER] = started = Cluster(binaries)
        config.add_cleanup(started.stop)
    return config.stash[_CLUSTER]


def share(config: pytest.Config) -> None:
    """Give the workers of this session a place for what they share; call it when pytest is configured."""
    if not hasattr(config, "workerinput"):
        place = os.environ[_SHARED] = tempfile.mkdtemp(prefix="evpg")
        config.add_cleanup(lambda: shutil.rmtree(place, ignore_errors=True))


@contextlib.contextmanager
def _turn() -> Iterator[Path]:
    """Yield where the session's workers find the files of a cluster, or put them; one worker at a time."""
    place = Path(os.environ[_SHARED])
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place / "data"


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


async def _migrate(url: str) -> None:
    database = await Database.open(url)
    await database.close()


def _in_thread(work: object, url: str) -> None:
    """Run a coroutine on a loop of its own: the test may have one already."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(work(url))).result()
