"""Secrets of a backup, sealed under a key that is not in it: AES-256-GCM, each value bound to its table and column.

The key lies in a file of its own (0600) beside the settings. Who finds a backup cannot use what is sealed in it; who
lost the key loses only those values.
"""

import base64
import hashlib
import json
import secrets
import stat
from pathlib import Path
from typing import Any, Final, Self

from certs.files import exists, read_text, write_new
from core.errors import InvalidError

PREFIX: Final = "sealed:"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_RESTORE_IT: Final = "Copy it from the server whose backup this is."


class Sealer:
    """Seals and opens single values with one key."""

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  10 MB only backups need

        self._cipher = AESGCM(key)
        self.key_id = hashlib.sha256(b"evenload backup key" + key).hexdigest()[:16]
        """Names the key without telling it."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key of a file. Raises NotFoundError, or InvalidError if it is no key or others can read it."""
        text = read_text(path, _RESTORE_IT)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InvalidError(f"{path} can be read by others. Run: chmod 600 {path}")
        try:
            key = bytes.fromhex(text)
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise InvalidError(f"{path} holds no backup key: {2 * _KEY_BYTES} hexadecimal digits.")
        return cls(key)

    @classmethod
    def load_or_make(cls, path: Path) -> Self:
        """Read the key of a file, making file and key if it is missing."""
        if not exists(path):
            make_key(path)
        return cls.load(path)

    def seal(self, value: object, place: str) -> str:
        """Return a JSON value so that only this key, and only for the same `place`, opens it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        text = json.dumps(value, ensure_ascii=False).encode()
        return PREFIX + base64.b64encode(nonce + self._cipher.encrypt(nonce, text, place.encode())).decode()

    def open(self, sealed: str, place: str) -> Any:
        """Return what was sealed. Raises InvalidError for another key, another place, or a changed text."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  see above

        try:
            raw = base64.b64decode(sealed.removeprefix(PREFIX), validate=True)
            return json.loads(self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], place.encode()))
        except (InvalidTag, ValueError) as error:
            raise InvalidError(f"The sealed {place} does not open with key {self.key_id}.") from error


def make_key(path: Path) -> None:
    """Write a new key. Raises ConflictError if the file exists: a key is never overwritten."""
    write_new(path, secrets.token_bytes(_KEY_BYTES).hex() + "\n")
