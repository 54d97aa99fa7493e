"""Plays a VTN for one VEN, from its registration to its end, and keeps what was said."""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Final

from conformance.exchange import Transcript
from conformance.stage import Timeline
from conformance.vens.desk import Desk, Rules
from conformance.vens.dialogues import DIALOGUES, Dialogue
from conformance.vens.host import Place, serving
from conformance.verdict import printable
from core.errors import EvenloadError, InvalidError, UnavailableError

FIRST: Final = "joining"
"""Without it nothing can be played."""
_FAREWELL_S: Final = 20.0
_LAST_WORDS: Final = 2000


@contextmanager
def ven_process(command: str | None, url: str) -> Iterator[Callable[[], str]]:
    """Run a VEN by a command, in which `{url}` is our address, and stop it in the end; without one it comes by itself.

    Yields what tells the last words of its output. Raises InvalidError for a command that cannot be run.
    """
    if command is None:
        yield lambda: ""
        return
    with tempfile.TemporaryFile() as log:
        try:
            words = [word.replace("{url}", url) for word in shlex.split(command)]
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603  the user's
        except (OSError, ValueError, IndexError) as error:
            raise InvalidError(f"'{command}' cannot be run: {error}.") from error
        try:
            yield lambda: _end_of(log)
        finally:
            process.terminate()
            try:
                process.wait(_FAREWELL_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _end_of(log: IO[bytes]) -> str:
    log.seek(0, 2)
    log.seek(max(0, log.tell() - _LAST_WORDS))
    return printable(log.read().decode("utf-8", "replace"))


def play(
    rules: Rules,
    place: Place,
    timeline: Timeline,
    *,
    command: str | None = None,
    ready: Callable[[str], None] = lambda _url: None,
    begins: Callable[[str], None] = lambda _name: None,
    dialogues: Mapping[str, Dialogue] = DIALOGUES,
) -> list[Transcript]:
    """Play the dialogues in their order. `ready` hears the address, `begins` each name.

    What breaks one off stands in its transcript. Raises UnavailableError if no VEN came, InvalidError.
    """
    desk = Desk(rules, timeline)
    desk.begin(FIRST)
    transcripts = []
    with serving(place, desk.hear) as host, ven_process(command, host.url) as last_words:
        ready(host.url)
        for name, dialogue in dialogues.items():
            begins(name)
            if name != FIRST:
                desk.begin(name)
            broke = _played(dialogue, desk)
            transcripts.append(desk.transcript(broke))
            if name == FIRST and not desk.ven_id:
                words = last_words()
                raise UnavailableError(f"No VEN registered at {host.url}: {broke}" + (f"\n{words}" if words else ""))
    return transcripts


def _played(dialogue: Dialogue, desk: Desk) -> str:
    try:
        dialogue(desk)
    except EvenloadError as error:
        return str(error)
    return ""
