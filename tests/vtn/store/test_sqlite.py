"""The connection to SQLite that crosses to its thread once a statement."""

import gc
import sqlite3

import pytest

from vtn.store import sqlite


async def test_a_statement_that_fails_leaves_no_open_cursor(tmp_path):
    """The garbage collector would finish it in the loop's thread, which waits as long as the connection's own does."""
    connection = await sqlite.connect(tmp_path / "file.db")
    cursor = connection.cursor()
    with pytest.raises(sqlite3.OperationalError) as failure:
        await cursor.execute("INSERT INTO nowhere VALUES (1)")
    left = [one for one in gc.get_objects() if type(one) is sqlite3.Cursor]
    assert left, f"{failure.value!r} keeps it"
    for one in left:
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            one.fetchone()
    await connection.close()
