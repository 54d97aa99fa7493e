"""The houses' own log, JSON lines: the independent witness of what was switched, when, and what the house said then."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final, Literal, Self, get_args

from core.errors import InvalidError, UnavailableError
from core.spans import utc
from evenload.demo.model import Switch

LOG_NAME: Final = "houses.jsonl"
"""The log's file name in the run's directory."""

What = Literal["online", "command", "ignored", "switch", "state", "history", "error", "offline"]
"""What happened.

- `online`, `offline`: the house is connected and has said its state; it has left on purpose
- `command`: an order arrived, `value` is what it asks; `ignored`: the same, and the fault made the house ignore it
- `switch`: the relay changed to `value` at `time`; nothing else changes it
- `state`: the house published its relay's state `value`, and the broker took it
- `history`: it answered a request for old register readings, `value` is how many
- `error`: what was wrong, in `value`
"""

_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: world time (aware UTC), home, device (`heater`, `meter`, or `house` for all of it), what, value."""

    time: datetime
    home: str
    device: str
    what: What
    value: str = ""


class HouseLog:
    """The log, open for appending. A line that a crash left unfinished is closed first."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: IO[bytes] = path.open("a+b", buffering=0)
            if self._file.tell():
                self._file.seek(-1, 2)
                if self._file.read(1) != b"\n":
                    self._file.write(b"\n")
        except OSError as error:
            raise UnavailableError(f"The houses' log {path} cannot be written: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, entry: Entry) -> None:
        """Append one line; it has reached the operating system when this returns. Raises UnavailableError."""
        line = {
            "time": utc(entry.time).isoformat(),
            "home": entry.home,
            "device": entry.device,
            "what": entry.what,
            "value": entry.value[:_MAX_TEXT],
        }
        try:
            self._file.write((json.dumps(line) + "\n").encode())
        except OSError as error:
            raise UnavailableError(f"The houses' log cannot be written: {error}") from error


def read_log(path: Path) -> list[Entry]:
    """Read the log, oldest first; a file that is not there yet is empty, an unfinished line is left out.

    Raises InvalidError for a complete line that is not an entry.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for number, line in enumerate(lines, 1) if line and (entry := _entry(path, number, line))]


def _entry(path: Path, number: int, line: bytes) -> Entry | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None  # cut short by a crash
    try:
        entry = Entry(
            datetime.fromisoformat(fields["time"]), **{k: fields[k] for k in ("home", "device", "what", "value")}
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidError(f"{path}, line {number}: not an entry of the houses' log: {error}") from error
    if entry.what not in get_args(What) or entry.time.tzinfo is None:
        raise InvalidError(f"{path}, line {number}: not an entry of the houses' log.")
    return entry


def switches(entries: Iterable[Entry], home: str) -> list[Switch]:
    """Return when that home's heater was really switched: what `House.simulate` and `House.true_wh` take."""
    return [Switch(one.time, one.value == "on") for one in entries if one.home == home and one.what == "switch"]
