"""Recorded runs: a directory with one JSON file a dialogue. What was recorded is judged offline like a run.

A record may come from elsewhere, such as a VTN's own log of messages: that is one such file. Without headers the fact
`headers` is `not recorded`; with `newest_first` the exchanges stand in that order. They belong to no dialogue of the
kit, so that the rules of all messages judge them.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from conformance.exchange import Answer, Exchange, Headers, Request, Transcript
from core.errors import InvalidError, UnavailableError

_VERSION: Final = 1
_LARGEST: Final = 64 << 20


def check(directory: Path) -> None:
    """See that a run can be recorded there: into a directory that is new or empty. Raises InvalidError."""
    try:
        if directory.exists() and any(directory.iterdir()):
            raise InvalidError(f"{directory} is not empty: name a new directory, so that no two runs mix.")
        was_there = directory.exists()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".probe").touch()
        (directory / ".probe").unlink()
        if not was_there:
            directory.rmdir()
    except OSError as error:
        raise InvalidError(f"Nothing can be recorded in {directory}: {error.strerror}.") from error


def save(directory: Path, transcripts: Iterable[Transcript]) -> None:
    """Write transcripts into a directory, which is made if need be; they hold whatever the other side told.

    Raises UnavailableError.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, transcript in enumerate(transcripts):
            path = directory / f"{number:02} {transcript.dialogue}.json"
            path.write_text(json.dumps(_shown(transcript), indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise UnavailableError(f"Nothing can be recorded in {directory}: {error.strerror}.") from error


def load(place: Path) -> tuple[Transcript, ...]:
    """Read a recorded run, in its order: a directory, or one file of one. Raises InvalidError for what is none."""
    paths = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if not paths:
        raise InvalidError(f"{place} holds no recorded dialogue.")
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Transcript:
    try:
        if path.stat().st_size > _LARGEST:
            raise InvalidError(f"{path} is larger than {_LARGEST >> 20} MiB.")
        shown = json.loads(path.read_text(encoding="utf-8"))
        if shown["version"] != _VERSION:
            raise InvalidError(f"{path} was recorded by another version of the kit.")
        order = -1 if shown.get("newest_first") else 1
        exchanges = tuple(_exchange(each) for each in shown["exchanges"][::order])
        return Transcript(str(shown["dialogue"]), exchanges, dict(shown["facts"]), str(shown["broke"]))
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from error
    except KeyError as error:
        raise InvalidError(f"{path} is no recorded dialogue: it has no entry {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidError(f"{path} is no recorded dialogue of this kit, or was damaged.") from error


def _shown(transcript: Transcript) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "dialogue": transcript.dialogue,
        "broke": transcript.broke,
        "facts": dict(transcript.facts),
        "exchanges": [shown_exchange(exchange) for exchange in transcript.exchanges],
    }


def shown_exchange(exchange: Exchange) -> dict[str, Any]:
    """Return an exchange as JSON."""
    request, answer = exchange.request, exchange.answer
    sent = {"method": request.method, "target": request.target} | _message(request.headers, request.body)
    return {
        "step": exchange.step,
        "ven": exchange.ven,
        "at": exchange.at.isoformat(),
        "trouble": exchange.trouble,
        "request": sent,
        "answer": None if answer is None else {"status": answer.status} | _message(answer.headers, answer.body),
    }


def _message(headers: Headers, body: bytes) -> dict[str, Any]:
    try:
        content = {"text": body.decode("utf-8")}
    except UnicodeDecodeError:
        content = {"base64": base64.b64encode(body).decode("ascii")}
    return {"headers": [list(pair) for pair in headers], **content}


def _exchange(shown: dict[str, Any]) -> Exchange:
    sent, got = shown["request"], shown["answer"]
    request = Request(str(sent["method"]), str(sent["target"]), _headers(sent["headers"]), _body(sent))
    answer = None if got is None else Answer(int(got["status"]), _headers(got["headers"]), _body(got))
    at = datetime.fromisoformat(shown["at"])
    return Exchange(str(shown["step"]), str(shown["ven"]), request, answer, str(shown["trouble"]), at)


def _headers(pairs: Sequence[Sequence[str]]) -> Headers:
    return tuple((str(name), str(value)) for name, value in pairs)


def _body(shown: dict[str, Any]) -> bytes:
    return base64.b64decode(shown["base64"]) if "base64" in shown else str(shown["text"]).encode()
