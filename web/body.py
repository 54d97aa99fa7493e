"""Reading a JSON body from a stranger: bounded in size, depth, time and numbers, one meaning for every text."""

import asyncio
import json
import math
from typing import Any, NoReturn

from aiohttp import web

from web.problem import ProblemError

_READ_S = 30.0
"""Machine time that a whole body may take to arrive."""

MAX_DEPTH = 32
_MAX_INTEGER = 2**63 - 1
_MAX_NUMBER_CHARS = 64


async def read_body(request: web.Request) -> bytes:
    """Return the bytes of a body that says it is JSON.

    Raises ProblemError: 415 unless it says application/json in UTF-8, 400 if it breaks off, 408 if it arrives too
    slowly. aiohttp raises 413 past the application's `client_max_size`.
    """
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise ProblemError(415, "Send 'Content-Type: application/json', in UTF-8.", {"Accept": "application/json"})
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(415, "Send the body without compression.", {"Accept-Encoding": "identity"})
    try:
        async with asyncio.timeout(_READ_S):
            return await request.read()
    except web.RequestPayloadError as error:
        raise ProblemError(400, "The body broke off or is not framed as HTTP wants it.") from error
    except TimeoutError as error:
        raise ProblemError(408, f"The body did not arrive within {_READ_S:.0f} seconds.") from error


def parse(raw: bytes) -> Any:
    """Parse one JSON text (RFC 8259, made strict as I-JSON, RFC 7493, asks).

    Refused with a ProblemError 400: other encodings, duplicate keys, NaN and Infinity, numbers that neither a 64-bit
    integer nor a double can hold, the character U+0000, lone surrogates, more than MAX_DEPTH levels.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_double,
        )
    except UnicodeDecodeError as error:
        raise ProblemError(400, "The body is not UTF-8.") from error
    except json.JSONDecodeError as error:
        raise ProblemError(
            400, f"The body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}."
        ) from error
    except RecursionError as error:
        raise _too_deep() from error
    _check(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ProblemError(400, "A JSON object in the body has two members of the same name.")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ProblemError(400, f"{name} is not JSON; leave the value out or use null.")


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER_CHARS or abs(number := int(text)) > _MAX_INTEGER:
        raise ProblemError(400, "A number in the body is too large; whole numbers are limited to 64 bits.")
    return number


def _double(text: str) -> float:
    if len(text) > _MAX_NUMBER_CHARS or math.isinf(number := float(text)):
        raise ProblemError(400, "A number in the body is too large or has too many digits.")
    return number


def _check(value: Any) -> None:
    """Bound the depth and refuse characters that no database stores."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str):
                _check_text(one)
        depth += any(isinstance(one, dict | list) for one in level)
        if depth > MAX_DEPTH:
            raise _too_deep()
        level = below


def _check_text(text: str) -> None:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text if char > "\ud7ff"):
        raise ProblemError(400, "A text in the body holds a character that is no character (U+0000 or half a pair).")


def _too_deep() -> ProblemError:
    return ProblemError(400, f"The body is nested more than {MAX_DEPTH} levels deep.")
