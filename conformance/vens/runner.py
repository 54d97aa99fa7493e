"""Plays a VTN for one VEN, from its registration to its end, and keeps what was said."""

import os
import shlex
import signal
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final

from conformance.exchange import Request, Transcript
from conformance.listener import Place, serving
from conformance.signing import Signer
from conformance.stage import Timeline
from conformance.vens.desk import Desk, Rules
from conformance.vens.dialogues import DIALOGUES, Dialogue
from conformance.vens.impostors import read_authority
from conformance.vens.user import User
from conformance.verdict import printable
from conformance.wire import Access, Credentials, Line, Outcome, tls_context
from core.errors import EvenloadError, InvalidError, UnavailableError

FIRST: Final = "joining"
"""Without it nothing can be played."""
_FAREWELL_S: Final = 20.0
_LOOK_S: Final = 0.05
_LAST_WORDS: Final = 2000
_LAST_LINE: Final = 200


@dataclass(frozen=True, slots=True)
class VenProcess:
    """A VEN that the kit started, or one that comes by itself: then nothing is known of it."""

    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None

    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return self.process is not None and self.process.poll() is not None

    @property
    def farewell(self) -> str:
        """How it ended, and the end of its output."""
        code = None if self.process is None else self.process.poll()
        return f"with code {code}: {self.last_words()[-_LAST_LINE:]}"

    def last_words(self) -> str:
        """Return the end of its output."""
        if self.log is None:
            return ""
        self.log.seek(0, 2)
        self.log.seek(max(0, self.log.tell() - _LAST_WORDS))
        return printable(self.log.read().decode("utf-8", "replace")).strip()


@contextmanager
def ven_process(command: str | None, url: str) -> Iterator[VenProcess]:
    """Run a VEN by a command, in which `{url}` is our address, and stop it in the end; without one it comes by itself.

    Raises InvalidError for a command that cannot be run.
    """
    if command is None:
        yield VenProcess()
        return
    with tempfile.TemporaryFile() as log:
        try:
            words = [word.replace("{url}", url) for word in shlex.split(command)]
            if not words:
                raise InvalidError("'' cannot be run: the command is empty.")
            process = subprocess.Popen(  # noqa: S603  the user's own
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except (OSError, ValueError) as error:
            raise InvalidError(f"'{command}' cannot be run: {error}.") from error
        try:
            yield VenProcess(process, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, which a shell does not pass on; who is asked twice to hurry kills them."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + _FAREWELL_S
        while _lives(process) and time.monotonic() < until:
            time.sleep(_LOOK_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lives(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether some process of its group does more than wait for being forgotten."""
    if process.poll() is None:
        return True
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return any(_group(place) == process.pid for place in Path("/proc").glob("[0-9]*/stat"))


def _group(stat: Path) -> int | None:
    """Return the process group of a process that has not ended, by its /proc/PID/stat."""
    try:
        state, _, group, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state == "Z" else int(group)


def play(
    rules: Rules,
    place: Place,
    timeline: Timeline,
    *,
    command: str | None = None,
    user: User | None = None,
    ready: Callable[[str], None] = lambda _url: None,
    begins: Callable[[str], None] = lambda _name: None,
    dialogues: Mapping[str, Dialogue] = DIALOGUES,
    into: list[Transcript] | None = None,
) -> list[Transcript]:
    """Play the dialogues in their order; with a VEN of 2.0a one of its own only.

    `user` opts at the VEN, `ready` hears the address, `begins` each name. What breaks a dialogue off stands in its
    transcript. `into` gets each transcript when it is whole, so that nothing is lost with an interruption. Raises
    UnavailableError if no VEN came, or one that cannot be reached, InvalidError.
    """
    if place.authority_key is not None:
        read_authority(place)
    desk = Desk(rules, timeline, partial(_post, place.trust), _signer(place))
    desk.place, desk.user = place, user or User()
    desk.begin(FIRST)
    pushing = threading.Thread(target=desk.push, daemon=True)
    pushing.start()
    transcripts = [] if into is None else into
    try:
        with serving(place, desk.hear) as host, ven_process(command, host.url) as ven:
            desk.gone, desk.host = ven.has_ended, host
            ready(host.url)
            for name, dialogue in dialogues.items():
                begins(name)
                if name != FIRST:
                    desk.begin(name)
                broke = _played(dialogue, desk)
                if broke and ven.has_ended():
                    broke = f"{broke} {ven.farewell}"
                transcripts.append(desk.transcript(broke))
                if desk.unreachable:
                    raise UnavailableError(f"The VEN cannot be reached at {desk.address}: {desk.unreachable}")
                if desk.speaks_2_0_a and not desk.ven_id:
                    return transcripts
                if name == FIRST and not desk.ven_id:
                    why = "; ".join((broke, *desk.faults, *host.faults))
                    raise UnavailableError(f"No VEN registered at {host.url}: {why}\n{ven.last_words()}".rstrip())
    finally:
        desk.close()
        pushing.join()
    return transcripts


def _signer(place: Place) -> Signer | None:
    """Return what signs; None without a certificate, or with one of a key that signs no XML: TLS may take it."""
    try:
        return None if place.credentials is None else Signer(place.credentials)
    except InvalidError:
        return None


def _post(trust: Path | None, address: str, request: Request, client: Credentials | None) -> Outcome:
    """Post to a VEN by HTTP, or by TLS with a certificate of the kit; whose certificate it shows is not compared.

    A VEN may well have one certificate only, for clients, which OpenSSL takes from no server; and the kit has no
    secrets to tell.
    """
    access = Access(address, trust, check_hostname=False)
    context = tls_context(access, client) if access.is_secure else None
    if context is not None:
        context.verify_mode = ssl.CERT_NONE
    return Line(access, context).exchange(request)


def _played(dialogue: Dialogue, desk: Desk) -> str:
    try:
        dialogue(desk)
    except EvenloadError as error:
        return str(error)
    return ""
