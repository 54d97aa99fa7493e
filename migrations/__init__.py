"""The history of the database schema (Alembic). The VTN applies it when it opens a database; nobody runs it by hand.

A migration is frozen: it imports nothing that may change later. `python -m migrations "what changes"` writes a new one
from the difference between the tables in the code and the schema so far.
"""
