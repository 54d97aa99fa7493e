"""Polls that were read before. Most messages are polls, and a VEN's poll is the same each time.

An unsigned one is the same bytes, a signed one is of the same form (`openadr.signature.form`): only its signature is
judged anew. What is kept is only how a poll reads; whose it is, and whether it counts, is asked each time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from core.errors import InvalidError
from openadr.signature.values import SignatureError, Verified
from openadr.v20b.decode import Decoded, parse
from openadr.v20b.messages import Poll

if TYPE_CHECKING:
    from openadr.signature.claim import Claim
    from openadr.signature.form import Form, Skeleton

_SHORT: Final = 1024
_MOST: Final = 8192
_MOST_FORMS: Final = 4096
"""With their certificates they take some 10 kB each."""


@dataclass(frozen=True, slots=True)
class _SignedPoll:
    decoded: Decoded
    form: "Form"


class KnownPolls:
    """The polls that one process has read."""

    def __init__(self) -> None:
        self._polls: dict[tuple[bytes, bool], Decoded] = {}
        self._signed: dict[tuple[Skeleton, bool], _SignedPoll] = {}

    def get(
        self, body: bytes, judge: Callable[["Claim"], Verified | SignatureError], *, strict: bool
    ) -> Decoded | None:
        """Return what a body says if it is a poll that was read before; `judge` judges its own signature."""
        poll = self._polls.get((body, strict))
        if poll is not None or not self._signed:
            return poll
        from openadr.signature.form import cut  # noqa: PLC0415  loaded with the first signature

        message = cut(body)
        signed = None if message is None else self._signed.get((message.skeleton, strict))
        if message is None or signed is None:
            return None
        try:
            claim = signed.form.fill(message.values)
        except InvalidError:
            return None
        return replace(signed.decoded, signature=judge(claim))

    def put(self, body: bytes, decoded: Decoded, *, strict: bool) -> None:
        """Keep how a body reads if it is a poll, unsigned or with a good signature."""
        if not isinstance(decoded.message, Poll) or isinstance(decoded.signature, SignatureError):
            return
        if isinstance(decoded.signature, Verified):
            self._put_form(body, decoded, strict=strict)
        elif len(body) <= _SHORT:
            if len(self._polls) >= _MOST:
                self._polls.clear()
            self._polls[body, strict] = decoded

    def _put_form(self, body: bytes, decoded: Decoded, *, strict: bool) -> None:
        from openadr.signature.claim import read_claim  # noqa: PLC0415  loaded with the first signature
        from openadr.signature.form import Form, cut  # noqa: PLC0415

        message = cut(body)
        if message is None:
            return
        try:
            form = Form(message, read_claim(parse(body)))
        except InvalidError:
            return
        if len(self._signed) >= _MOST_FORMS:
            self._signed.clear()
        self._signed[message.skeleton, strict] = _SignedPoll(replace(decoded, signature=None), form)
