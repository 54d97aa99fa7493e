"""What holds secrets or what people do is its owner's alone, also where an earlier version left it open."""

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from core.private import overwrite, private_database, private_directory, private_file


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def generous_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_new_files_and_directories_are_private(tmp_path):
    private_directory(tmp_path / "a" / "b")
    private_file(tmp_path / "a" / "b" / "c")
    assert (mode(tmp_path / "a" / "b"), mode(tmp_path / "a" / "b" / "c")) == (0o700, 0o600)


def test_a_file_that_was_open_is_closed_and_keeps_its_content(tmp_path):
    file = tmp_path / "x"
    file.write_text("text")
    file.chmod(0o664)
    private_file(file)
    assert (mode(file), file.read_text()) == (0o600, "text")


def test_a_directory_that_is_there_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    private_directory(tmp_path)
    assert mode(tmp_path) == 0o755


def test_what_sqlite_keeps_beside_a_database_is_private_too(tmp_path):
    path = tmp_path / "x.db"
    private_database(path)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE x (y)")
    assert {mode(one) for one in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 3
    for one in tmp_path.iterdir():
        one.chmod(0o644)
    private_database(path)
    assert {mode(one) for one in tmp_path.iterdir()} == {0o600}
    database.close()


def test_the_command_line_writes_for_its_user_alone():
    code = (
        "import os\nfrom evenload.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    print(oct(os.umask(0)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split()[-1] == "0o77"


def test_a_file_is_overwritten_in_place_and_keeps_nothing_of_a_longer_text(tmp_path):
    path = tmp_path / "status"
    overwrite(path, b"x" * 20, 16)
    number = path.stat().st_ino
    assert (len(path.read_bytes()), mode(path)) == (32, 0o600)
    overwrite(path, b"y", 16)
    assert path.read_bytes() == b"y" + b" " * 15
    assert path.stat().st_ino == number
