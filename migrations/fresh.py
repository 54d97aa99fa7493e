"""Today's schema in one step, for a database that is empty: the tables in the code, and the views.

Not in `vtn`, which does not know who else adds tables.
"""

from typing import Final

from sqlalchemy import Connection
from sqlalchemy.engine.mock import MockConnection

import aggregator.tables  # noqa: F401  its tables are part of the schema
from migrations.views_3 import READING_3
from vtn.store.tables import METADATA

_VIEWS: Final = (READING_3,)
"""The newest text of each. A migration that brings another one puts it here too."""


def create(connection: Connection) -> None:
    """Make everything, in the present transaction."""
    dialect = connection.dialect
    statements: list[str] = []
    METADATA.create_all(MockConnection(dialect, lambda ddl, *_: statements.append(str(ddl.compile(dialect=dialect)))))
    statements += [view[dialect.name] for view in _VIEWS]
    if dialect.name == "postgresql":  # all in one message: there are two hundred of them
        statements = [f"DO $schema$ BEGIN {';'.join(statements)}; END $schema$"]
    for statement in statements:
        connection.exec_driver_sql(statement)
