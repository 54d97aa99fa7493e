"""The certificate authority: one self-signed root in a directory of its own.

    ca-key.pem (0600)   ca.pem   crl.pem   register.db

Machine time rules here: a certificate's validity is for TLS, not for the world of events.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certs.files import is_vacant, make_private_directory, read_text, sync_directory, write_new, write_over
from certs.kinds import KeyType, Kind
from certs.register import Record, Register
from certs.tls import check_pair
from core.clock import machine_now
from core.errors import ConflictError, InvalidError

if TYPE_CHECKING:
    from certs.root import Root

_MAX_DAYS: Final = 36_500
_KEY, _CA, _CRL, _REGISTER = "ca-key.pem", "ca.pem", "crl.pem", "register.db"
_INIT = "Make an authority with `evenload certs init`, or name its directory with --ca."
_WRITTEN: Final = "Written "
"""Begins the line before the list itself; readers of PEM pass over it."""
_LIST_DAYS: Final = 365
_RENEW_AFTER: Final = timedelta(days=30)
REASONS: Final = (
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
    "aACompromise",
)
"""Why a certificate is revoked (RFC 5280, 5.3.1), without the reason that only delta lists use."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just issued. `chain_pem`: the certificate (the root is not repeated in it).

    `key_pem` is None where the key was made elsewhere.
    """

    record: Record
    chain_pem: str
    key_pem: str | None = field(default=None, repr=False)


class Authority:
    """Issues, renews and revokes. Make one with `create` or `load`; safe to use from several threads and processes."""

    def __init__(self, directory: Path, now: Callable[[], datetime]) -> None:
        self.directory = directory
        self._now = now
        self._register = Register(directory / _REGISTER)

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str,
        *,
        key_type: KeyType | str = KeyType.EC,
        days: int = 3650,
        now: Callable[[], datetime] = machine_now,
    ) -> "Authority":
        """Make a new authority in a directory that does not exist yet or is empty (0700; the key 0600).

        Raises ConflictError if anything is there: a root key is never overwritten. A half-made one leaves nothing.
        """
        directory = directory.resolve()
        if not is_vacant(directory):
            raise ConflictError(f"{directory} is not empty; a new authority needs a directory of its own.")
        root = _roots().make(name, key_type, now(), _lifetime(days))
        draft = directory.with_name(f".{directory.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        make_private_directory(draft)
        try:
            write_new(draft / _KEY, root.key_pem)
            write_new(draft / _CA, root.pem)
            cls(draft, now).write_crl()
            try:
                draft.rename(directory)
            except OSError as error:
                raise ConflictError(f"{directory} was taken in the meantime.") from error
            sync_directory(directory.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls(directory, now)

    @classmethod
    def load(cls, directory: Path, *, now: Callable[[], datetime] = machine_now) -> "Authority":
        """Open an existing authority. Raises NotFoundError if there is none, InvalidError if it is damaged."""
        for name in (_KEY, _CA):
            read_text(directory / name, _INIT)
        try:
            check_pair(directory / _CA, directory / _KEY)
        except InvalidError as error:
            raise InvalidError(f"{error} Restore both from one backup.") from error
        return cls(directory, now)

    @cached_property
    def _root(self) -> "Root":
        key = read_text(self.directory / _KEY, _INIT)
        return _roots().read(key, self.ca_pem, str(self.directory))

    @property
    def key_path(self) -> Path:
        """Where the root's key lies."""
        return self.directory / _KEY

    @property
    def ca_pem(self) -> str:
        """The root certificate: what peers must trust."""
        return read_text(self.directory / _CA, _INIT)

    @property
    def not_after(self) -> datetime:
        """When the root itself expires; nothing that it issues lives longer."""
        return self._root.not_after

    def issue_server(
        self,
        names: Sequence[str],
        *,
        key_type: KeyType | str = KeyType.EC,
        days: int = 365,
        calls_clients: bool = False,
    ) -> Issued:
        """Issue a key and certificate for a server known by DNS names and IP addresses; the first names it.

        `calls_clients`: it is a client of its clients, too, as a VTN is that pushes.
        """
        kind = Kind.VTN if calls_clients else Kind.SERVER
        return self._issued(*self._root.sign_server(names, key_type, self._now(), _lifetime(days), kind))

    def issue_client(self, name: str, *, key_type: KeyType | str = KeyType.EC, days: int = 365) -> Issued:
        """Issue a key and certificate for a client (a VEN) that cannot make its own key."""
        return self._issued(*self._root.sign_client(name, key_type, self._now(), _lifetime(days)))

    def sign_request(self, csr_pem: str, common_name: str, *, days: int = 365) -> Issued:
        """Issue a client certificate for the key of a signing request.

        The name is ours to give: subject and extensions of the request are ignored. Its signature must prove the key,
        and the key be strong enough (SE-02). Raises InvalidError.
        """
        return self._issued(self._root.sign_request(csr_pem, common_name, self._now(), _lifetime(days)))

    def renew(self, which: str, *, csr_pem: str | None = None, days: int = 365) -> Issued:
        """Issue a new certificate of the same name and kind; the old one stays valid until it ends or is revoked.

        `which`: serial or fingerprint of the old one. The key stays, or comes from `csr_pem`. Raises NotFoundError,
        or ConflictError if the old one was revoked.
        """
        old = self._register.get(which)
        if old.revoked_at is not None:
            raise ConflictError(f"{old.fingerprint} was revoked ({old.reason}); issue a new certificate instead.")
        return self._issued(self._root.sign_again(old, csr_pem, self._now(), _lifetime(days)))

    def revoke(self, which: str, reason: str = "unspecified") -> Record:
        """Revoke a certificate by serial or fingerprint and write the revocation list; again changes nothing.

        `reason` is one of RFC 5280's: keyCompromise, superseded, cessationOfOperation ...
        """
        if reason not in REASONS:
            raise InvalidError(f"'{reason[:40]}' is no reason; use one of {', '.join(REASONS)}.")
        record = self._register.get(which)
        self._register.revoke(record.serial, self._now(), reason)
        self.write_crl()
        return self._register.get(record.serial)

    def issued(self) -> tuple[Record, ...]:
        """Return every certificate ever issued, in the order of issue."""
        return self._register.all()

    def write_crl(self, days: int = _LIST_DAYS) -> Path:
        """Write `crl.pem`, the list of revoked certificates that have not ended yet, and return its path.

        TLS refuses every client when the list itself has expired: write it again within `days`, or call `keep_crl`.
        """
        path = self.directory / _CRL
        with self._register.exclusive():  # or two revocations at once might lose one of them from the list
            now = self._now()
            text = self._root.sign_list(self._register.all(), now, _lifetime(days))
            write_over(path, f"{_WRITTEN}{now.isoformat()}\n{text}")
        return path

    def keep_crl(self) -> None:
        """Write the list anew if it is a month old, or does not say how old it is."""
        try:
            with (self.directory / _CRL).open(encoding="ascii") as file:
                written = datetime.fromisoformat(file.readline().removeprefix(_WRITTEN).strip())
            fresh = timedelta() <= self._now() - written < _RENEW_AFTER
        except (OSError, ValueError, TypeError):  # none, or one that others wrote
            fresh = False
        if not fresh:
            self.write_crl()

    def _issued(self, record: Record, key_pem: str | None = None) -> Issued:
        self._register.add(record)
        return Issued(record, record.pem, key_pem)


def _roots() -> "type[Root]":
    from certs.root import Root  # noqa: PLC0415  10 MB that a server has only once something is signed

    return Root


def _lifetime(days: int) -> timedelta:
    if not 1 <= days <= _MAX_DAYS:
        raise InvalidError(f"A validity of {days} days: use 1 to {_MAX_DAYS}.")
    return timedelta(days=days)
