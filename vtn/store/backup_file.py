"""The file of a backup: gzip'ed JSON, one value a line, with a checksum over all of it.

The checksum (SHA-256) lies in the header of a second, empty gzip member, so that every bit of the file is covered,
also those that gzip itself does not check, and `zcat` reads the file as ever.
"""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from core.errors import InvalidError, NotFoundError, UnavailableError
from vtn.store.engines import to_text

DAMAGED: Final = "The backup is damaged or was cut short"
_LONGEST_LINE: Final = 32 << 20
"""Bytes: far above any row, far below what would harm the machine that reads it."""
_LEVEL: Final = 6
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_FIELD: Final = b"ev" + _DIGEST_BYTES.to_bytes(2, "little")
_SEAL_HEAD: Final = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + (len(_FIELD) + _DIGEST_BYTES).to_bytes(2, "little") + _FIELD
_SEAL_TAIL: Final = b"\x03\0" + bytes(8)
"""An empty deflate stream, its CRC and its length (RFC 1952)."""
_SEAL_BYTES: Final = len(_SEAL_HEAD) + _DIGEST_BYTES + len(_SEAL_TAIL)


class Writer:
    """Writes values to a new file, a line each; the file is complete once `writing` ends."""

    def __init__(self, packed: gzip.GzipFile) -> None:
        self._packed = packed

    def write(self, values: Iterable[object]) -> None:
        """Write some values. Raises UnavailableError for one that is larger than a reader would take."""
        for value in values:
            line = to_text(value).encode() + b"\n"
            if len(line) > _LONGEST_LINE:
                raise UnavailableError(f"A row of {len(line):,} bytes is too large for a backup.")
            self._packed.write(line)


@contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """Yield a writer to an existing, empty file; at the end the checksum is added."""
    with target.open("r+b") as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=raw) as packed:
            yield Writer(packed)
        raw.seek(0)
        digest = hashlib.file_digest(raw, "sha256").digest()
        raw.seek(0, os.SEEK_END)
        raw.write(_SEAL_HEAD + digest + _SEAL_TAIL)


@contextmanager
def reading(source: Path) -> Iterator[tuple[bool, Iterator[tuple[Any, int]]]]:
    """Yield whether the file's checksum is there and right, and its values, each with its size in bytes.

    Memory is bounded whatever the file holds. Raises NotFoundError, UnavailableError, and InvalidError for what is no
    such file.
    """
    if not source.is_file():
        raise NotFoundError(f"There is no backup at {source}.")
    try:
        file = source.open("rb")
    except OSError as error:
        raise UnavailableError(f"{source} cannot be read: {error.strerror}.") from error
    with file, gzip.GzipFile(fileobj=file, mode="rb") as packed:
        whole = _is_whole(file)
        file.seek(0)
        yield whole, _values(packed)


def _is_whole(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END) - _SEAL_BYTES
    if size < 0:
        return False
    file.seek(size)
    seal = file.read()
    file.seek(0)
    digest, left = hashlib.sha256(), size
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    return seal == _SEAL_HEAD + digest.digest() + _SEAL_TAIL


def _values(packed: gzip.GzipFile) -> Iterator[tuple[Any, int]]:
    try:
        while line := packed.readline(_LONGEST_LINE + 1):
            if len(line) > _LONGEST_LINE:
                raise InvalidError(f"{DAMAGED}: it has a line that is longer than any row.")
            yield json.loads(line.decode(), parse_constant=_no_number), len(line)
    except (EOFError, OSError, zlib.error, ValueError, RecursionError) as error:
        raise InvalidError(
            f"{DAMAGED}: {str(error).splitlines()[0] if str(error) else type(error).__name__}."
        ) from error


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
