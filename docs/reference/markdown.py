"""Tables for the generated pages."""

from collections.abc import Iterable


def cell(text: object) -> str:
    """Return a text as it stands in a table's cell."""
    return " ".join(str(text).replace("|", "\\|").split())


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines).replace("| --- ", "|---").replace("--- |", "---|") + "\n"
