"""What is expensive to make and can be shared by a whole test session: the worker that comes first makes it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def once(factory: pytest.TempPathFactory, worker_id: str, name: str) -> Iterator[tuple[Path, bool]]:
    """Yield the session's directory of that name, and whether it is still empty and to be filled now.

    Other workers wait meanwhile. If the body raises, the next one finds the directory empty again.
    """
    own = factory.getbasetemp()
    base = own if worker_id == "master" else own.parent
    directory, done = base / name, base / f"{name}.done"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = not done.exists()
        if fresh:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
        yield directory, fresh
        done.touch()
