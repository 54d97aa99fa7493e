"""What the process asks of the C library; how much memory that saves is measured by `make bench`."""

import gc
import platform
import subprocess
import sys

import pytest

from evenload import process_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library has these functions")
def test_the_c_library_is_asked_by_names_that_it_knows():
    assert process_memory._of_libc("malloc_trim") is not None
    assert process_memory._of_libc("mallopt") is not None
    process_memory.spare()
    process_memory.give_back()


def test_where_there_is_no_such_function_nothing_happens(monkeypatch):
    monkeypatch.setattr(process_memory.sys, "platform", "darwin")
    assert process_memory._of_libc("malloc_trim") is None
    process_memory.spare()
    process_memory.give_back()


def test_what_lives_at_the_start_is_not_looked_through_again():
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        process_memory.settle()
        assert gc.get_freeze_count() > frozen
        assert gc.get_threshold() == process_memory._THRESHOLDS
    finally:
        gc.set_threshold(*thresholds)


def test_a_starting_server_leaves_out_what_it_may_never_need():
    """Each takes some megabytes; who uses it loads it then."""
    text = "import sys, evenload.server; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    heavy = {"alembic", "cryptography", "highspy", "joserfc", "sqlalchemy.dialects.postgresql"}
    assert heavy.isdisjoint(ran.stdout.split())
