"""A gateway's files on a disk that is full to the last byte, which is a small one of memory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConflictError, UnavailableError
from ven.state_files import JOURNAL_FILE, RESERVE_FILE, STORE_FILE, StateFiles

_ON_A_SMALL_DISK = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" "$3" "$1"'
_LIFE = '''
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from bridges.device import CapabilityKind, Command, Rank
from core.errors import UnavailableError
from ven.state_files import RESERVE_FILE, StateFiles

disk = Path(sys.argv[1])
state = disk / "state"
lease = Command("c1", "plug", CapabilityKind.SWITCH, "off", datetime(2030, 1, 1, tzinfo=UTC), "event", Rank.EVENT)


def life(work):
    """Run in a process that ends without closing anything, as by kill -9."""
    if (child := os.fork()) == 0:
        try:
            work()
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fill():
    """Take every block that is left."""
    with open(disk / "filler", "ab", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                pass


def first():
    files = StateFiles(state)
    with files.journal.transaction():
        files.journal.accept(lease, datetime(2029, 1, 1, tzinfo=UTC))
    files.close()  # a clean end takes SQLite's shared memory from the disk


def second():
    files = StateFiles(state)
    assert [entry.command.id for entry in files.journal.open()] == ["c1"]
    files.store.set_fact("room", "for a few words")
    files.keep_reserve()
    assert not (state / RESERVE_FILE).exists()


def third():
    (disk / "filler").unlink()
    StateFiles(state).close()
    assert (state / RESERVE_FILE).stat().st_blocks > 0


def fourth():
    (state / RESERVE_FILE).unlink()
    fill()
    try:
        StateFiles(state)
    except UnavailableError as error:
        assert "cannot be" in str(error), error
    else:
        raise AssertionError("a full disk without a reserve should not do: the disk of this test is not full")


assert life(first) == 0
fill()
assert life(second) == 0
assert life(third) == 0
assert life(fourth) == 0
'''


def test_it_starts_on_a_full_disk(tmp_path: Path) -> None:
    disk, script = tmp_path / "disk", tmp_path / "life.py"
    disk.mkdir()
    script.write_text(_LIFE, encoding="utf-8")
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        _ON_A_SMALL_DISK,
        "sh",
        disk,
        sys.executable,
        script,
    ]
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("a small disk needs `unshare` with user namespaces")

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_reserve_that_a_crash_left_unfinished_is_made_whole(tmp_path: Path) -> None:
    (tmp_path / RESERVE_FILE).touch()

    StateFiles(tmp_path).close()

    assert (tmp_path / RESERVE_FILE).stat().st_blocks > 0


def test_the_reserve_is_kept_where_the_disk_is_not_what_fails(tmp_path: Path) -> None:
    StateFiles(tmp_path).close()
    (tmp_path / STORE_FILE).write_bytes(b"no database" * 100)

    with pytest.raises(UnavailableError, match="not a database"):
        StateFiles(tmp_path)
    assert (tmp_path / RESERVE_FILE).stat().st_blocks > 0


def test_a_second_gateway_is_kept_out_until_the_first_has_closed(tmp_path: Path) -> None:
    first = StateFiles(tmp_path)

    with pytest.raises(ConflictError, match="Another gateway runs"):
        StateFiles(tmp_path)
    first.close()
    StateFiles(tmp_path).close()


def test_what_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).mkdir()

    with pytest.raises(Exception, match="cannot be opened"):
        StateFiles(tmp_path)
    (tmp_path / STORE_FILE).rmdir()
    StateFiles(tmp_path).close()

    assert (tmp_path / JOURNAL_FILE).exists()
    assert (tmp_path / RESERVE_FILE).stat().st_blocks > 0
