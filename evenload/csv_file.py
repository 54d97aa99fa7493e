"""A CSV file that the server takes in row by row: sent in parts, and what became of its rows."""

from pathlib import Path
from typing import Any, Final

from core.errors import InvalidError
from evenload.session import Session

_MOST_BYTES: Final = 64 << 20
_LINES: Final = 4_000


def send(session: Session, file: Path, path: str) -> None:
    """Send a file to an address of the API, and tell which of its rows were refused. Raises InvalidError."""
    if file.stat().st_size > _MOST_BYTES:
        raise InvalidError(f"The file is larger than {_MOST_BYTES >> 20} MB; split it.")
    try:
        header, *lines = file.read_text("utf-8-sig").splitlines()
    except ValueError as error:
        raise InvalidError("The file is empty, or not in UTF-8.") from error
    refused: list[dict[str, Any]] = []
    accepted = 0
    for first in range(0, max(len(lines), 1), _LINES):
        taken = _sent(session, path, "\n".join([header, *lines[first : first + _LINES]]))
        accepted += taken["accepted"]
        refused += [{**row, "line": row["line"] + first} for row in taken["refused"]]
    session.tell({"accepted": accepted, "refused": refused}, f"{accepted} rows taken, {len(refused)} refused.")
    if refused and not session.json:
        session.table(refused, "line", "reason")


def _sent(session: Session, path: str, text: str) -> Any:
    return session.call(lambda client: client.post(path, {"csv": text}))
