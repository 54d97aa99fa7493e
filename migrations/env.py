"""What Alembic runs: the migrations, inside the transaction of the connection that the store hands over."""

from typing import Any, Literal

from alembic import context

_NAMES = {"UtcDateTime": "UTC_TIME", "JSON": "JSON", "BigInteger": "SERIAL"}


def _render(kind: str, item: Any, _: object) -> str | Literal[False]:
    """Write our column types by their frozen names in new migrations."""
    name = _NAMES.get(type(item).__name__) if kind == "type" else None
    if name is None or (name == "SERIAL" and not item._variant_mapping):  # noqa: SLF001  no public way to ask
        return False
    return f"columns.{name}"


# PostgreSQL and SQLite both roll back DDL; SQLite can only change a table by rebuilding it ("batch").
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    render_as_batch=True,
    render_item=_render,
    transactional_ddl=True,
)
context.run_migrations()
