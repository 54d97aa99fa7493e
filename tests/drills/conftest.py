"""The fixtures of the drills."""

from support.databases import postgresql_url

__all__ = ["postgresql_url"]
