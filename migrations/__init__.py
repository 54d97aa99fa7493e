"""The database schema as it is (`fresh`), and its history (Alembic). The VTN applies both; nobody runs them by hand.

A migration is frozen: it imports nothing that may change later. `python -m migrations "what changes"` writes a new one
from the difference between the tables in the code and the schema so far. Its way back is only for an empty schema,
which then takes the rows of an older backup.
"""
