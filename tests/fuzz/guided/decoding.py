"""The codec: bytes that are read as 2.0b, as 2.0a and by the form of a signature, and written again."""

from datetime import UTC, datetime

from core.errors import EvenloadError
from openadr.signature.claim import Claim
from openadr.signature.values import SignatureError, Verified, is_signed
from openadr.signature.verify import Verifier
from openadr.v20a.decode import decode_noting as decode_20a
from openadr.v20b.decode import Decoded, UnreadableError, WireError, decode, decode_noting
from openadr.v20b.encode import encode
from vtn.transport.v20b.known_polls import KnownPolls

SIGNED_AT = datetime(2026, 1, 12, 12, tzinfo=UTC)
"""When the kept messages were signed."""


class Decoding:
    """Reads messages in every way. Certificates are taken for a peer's, whosever they are, to get further."""

    def __init__(self) -> None:
        self._verifier = Verifier(now=lambda: SIGNED_AT)

    def take(self, body: bytes) -> None:
        """Read a body. Raises what a reader must not raise, and AssertionError for what does not read as it was."""
        for strict in (False, True):
            decoded = self._read(body, strict=strict)
            if decoded is not None:
                _writes(decoded)
                self._reads_by_form(body, decoded, strict=strict)
        try:
            decode_20a(body)
        except (WireError, UnreadableError):
            return

    def close(self) -> None:
        """Nothing is held."""

    def _read(self, body: bytes, *, strict: bool) -> Decoded | None:
        try:
            return decode_noting(body, strict=strict, verify=self._judge)
        except (WireError, UnreadableError):
            return None

    def _judge(self, payload) -> Verified | SignatureError | None:
        if not is_signed(payload):
            return None
        try:
            return self._verifier.verify(payload, lambda _: True)
        except SignatureError as error:
            return error

    def _judge_claim(self, claim: Claim) -> Verified | SignatureError:
        try:
            return self._verifier.judge(claim, lambda _: True)
        except SignatureError as error:
            return error

    def _reads_by_form(self, body: bytes, decoded: Decoded, *, strict: bool) -> None:
        """A poll that was read before reads the same without parser and schema."""
        polls = KnownPolls()
        polls.put(body, decoded, strict=strict)
        again = polls.get(body, self._judge_claim, strict=strict)
        if again is not None:
            assert again == decoded, f"read by its form it is {again}, not {decoded}"


def _writes(decoded: Decoded) -> None:
    """What was read can be written, unless it is said why not; and then reads the same."""
    try:
        written = encode(decoded.message)
    except EvenloadError:
        return
    again = encode(decode(written, strict=True))
    assert again == written, f"{written.decode()} reads as {again.decode()}"
