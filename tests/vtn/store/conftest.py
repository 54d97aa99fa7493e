"""The fixtures of the store's tests."""

from support.databases import database, database_url, empty_database_url, postgresql_url

__all__ = ["database", "database_url", "empty_database_url", "postgresql_url"]
