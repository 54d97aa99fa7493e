"""XML signatures on the VTN's side: what is verified, what is signed, and that each message counts once (SE-08..SE-10).

A signature's certificate must be one that speaks for the VEN whose message it is: the same certificates by which VENs
are known on TLS, but any of them, since a VEN may have several and TLS may end at a proxy. Cryptography is loaded when
the first signature is met, since it is large and most fleets have none.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from lxml.etree import _Element

from core.clock import machine_now
from core.errors import EvenloadError, UnavailableError
from openadr.fingerprint import fingerprint
from openadr.model.registration import SignaturePolicy
from openadr.signature.values import Fault, SignatureError, Verified, is_signed
from openadr.v20b.encode import encode
from openadr.v20b.messages import Message
from vtn.services import signatures
from vtn.services.ven_cache import VenCache, VenState
from vtn.store.writer import GroupWriter

if TYPE_CHECKING:
    from openadr.signature.claim import Claim
    from openadr.signature.replay import NonceMemory
    from openadr.signature.sign import Signer
    from openadr.signature.verify import Verifier

_log = structlog.get_logger(__name__)

WINDOW: Final = timedelta(minutes=1)
"""How far a signature's time may be from ours, either way, unless a deployment says otherwise."""

_LOOK_S: Final = 5.0
"""How often it is looked whether a key's file has changed (machine time)."""

Signature = Verified | SignatureError | None
"""What is to be thought of a message's signature; None: it has none."""


@dataclass(frozen=True, slots=True)
class SigningFiles:
    """A certificate and its key, PEM files."""

    cert: Path
    key: Path

    def stamp(self) -> int:
        """Return what changes when a file does; 0 if it cannot be seen."""
        try:
            return self.cert.stat().st_mtime_ns ^ self.key.stat().st_mtime_ns
        except OSError:
            return 0


class SigningKeys:
    """The VTN's keys, such as an RSA and an EC one. Each is read once, and again soon after its file has changed."""

    def __init__(self, pairs: Sequence[SigningFiles] = ()) -> None:
        self._pairs = tuple(pairs)
        self._signers: dict[SigningFiles, tuple[int, Signer]] = {}
        self._current: list[Signer] = []
        self._looked_s = -math.inf

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def like(self, method: str | None) -> "Signer":
        """Return the key for the signature method of a peer, which it can surely verify, or else the first.

        Raises UnavailableError if there is none that can be used.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_S:
            self._current = [self._signer(pair) for pair in self._pairs]
            self._looked_s = now_s
        if not self._current:
            raise UnavailableError("This VTN has no key to sign its answers with.")
        return next((signer for signer in self._current if signer.algorithm == method), self._current[0])

    def _signer(self, pair: SigningFiles) -> "Signer":
        from openadr.signature.sign import Signer  # noqa: PLC0415  see the module

        stamp = pair.stamp()
        before = self._signers.get(pair)
        if before is not None and before[0] == stamp:
            return before[1]
        try:
            signer = Signer(pair.key.read_bytes(), pair.cert.read_bytes())
        except (OSError, EvenloadError) as error:
            if before is None:
                raise UnavailableError("This VTN's key for signatures cannot be read.") from error
            _log.warning("the new key for signatures cannot be used", file=str(pair.cert), why=str(error))
            signer = before[1]  # half of it is written, perhaps
        self._signers[pair] = stamp, signer
        return signer


class Signatures:
    """The signatures of one process."""

    def __init__(
        self,
        vens: VenCache,
        writer: GroupWriter,
        keys: SigningKeys | None = None,
        *,
        window: timedelta = WINDOW,
        now: Callable[[], datetime] = machine_now,
    ) -> None:
        """`window`: how far a signature's time may be from ours, either way (machine time)."""
        self._vens = vens
        self._writer = writer
        self._keys = keys or SigningKeys()
        self._window = window
        self._now = now
        self._tools: tuple[Verifier, NonceMemory] | None = None

    @property
    def can_sign(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self._keys)

    def judge(self, payload: _Element) -> Signature:
        """Return what is to be thought of a message's signature, to be acted on once it is clear who speaks."""
        if not is_signed(payload):
            return None
        try:
            return self._load()[0].verify(payload, self._speaks_for_a_ven)
        except SignatureError as error:
            return error

    def judge_claim(self, claim: "Claim") -> Verified | SignatureError:
        """Return what is to be thought of a claim that was read by its form."""
        try:
            return self._load()[0].judge(claim, self._speaks_for_a_ven)
        except SignatureError as error:
            return error

    def check(self, ven: VenState, signature: Signature) -> None:
        """Raise SignatureError unless a VEN's message may be acted on, as far as its signature tells (SE-08)."""
        if ven.signatures is SignaturePolicy.OFF:
            return
        if isinstance(signature, SignatureError):
            raise signature
        if signature is None and ven.signatures is SignaturePolicy.REQUIRED:
            raise SignatureError(Fault.MISSING, "this VEN must sign its messages.")
        if signature is not None and self._vens.owner(fingerprint(signature.certificate)) != ven.ven_id:
            raise SignatureError(Fault.CERTIFICATE, "its certificate is another VEN's.")

    async def use(self, ven: VenState, signature: Signature, *, lasting: bool) -> None:
        """Note that a verified message is acted on. Raises SignatureError if it was before.

        `lasting`: in all processes and beyond this one's end, which costs a commit. Where it is not, a message that
        changes nothing, a poll that finds nothing, may be heard once by each process. Raises UnavailableError.
        """
        if not isinstance(signature, Verified) or ven.signatures is SignaturePolicy.OFF:
            return
        from openadr.signature.replay import expires_at, replay_key  # noqa: PLC0415  see the module

        self._load()[1].use(signature, self._now())
        if lasting:
            key = replay_key(signature).hex()
            await self._writer.submit_to(signatures.use_nonces, key, expires_at(signature, self._window))

    def asked(self, ven: VenState | None, signature: Signature) -> bool:
        """Whether what a VEN is told has to be signed.

        So is the answer to a signed message, what goes to a VEN that registered so, and what goes to one that must
        sign itself, which verifies ours as a rule.
        """
        if ven is not None and ven.signatures is SignaturePolicy.OFF:
            return False
        if ven is not None and ven.xml_signature:
            return True
        mutual = isinstance(signature, Verified) or (ven is not None and ven.signatures is SignaturePolicy.REQUIRED)
        return mutual and self.can_sign

    async def encode(self, answer: Message, signature: Signature) -> bytes:
        """Return an answer with a signature. Raises UnavailableError if there is no key that can be used."""
        from openadr.signature.sign import new_nonce  # noqa: PLC0415  see the module

        signer = self._keys.like(signature.method if isinstance(signature, Verified) else None)

        def sign(body: bytes) -> bytes:
            return signer.sign(body, self._now(), new_nonce())

        return await asyncio.to_thread(encode, answer, sign=sign) if signer.is_slow else encode(answer, sign=sign)

    def _speaks_for_a_ven(self, certificate: bytes) -> bool:
        return self._vens.owner(fingerprint(certificate)) is not None

    def _load(self) -> "tuple[Verifier, NonceMemory]":
        if self._tools is None:
            from openadr.signature.replay import NonceMemory  # noqa: PLC0415  see the module
            from openadr.signature.verify import Verifier  # noqa: PLC0415

            self._tools = Verifier(self._window, self._now), NonceMemory(self._window)
        return self._tools
