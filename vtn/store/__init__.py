"""What lies in SQL: tables, engine, queries, the group-committing writer. The rows are the truth."""

from vtn.store.database import Database, Transaction

__all__ = ["Database", "Transaction"]
