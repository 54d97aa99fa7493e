"""OpenADR 2.0a in push mode: the list of a VEN's events is posted to its EiEvent service.

VTN                         VEN
| --- oadrDistributeEvent -> |   all its events that 2.0a can carry
| <-- an empty 200 --------- |   or its oadrCreatedEvent at once
| <-- oadrCreatedEvent ----- |   as a message of its own, to the VTN's service
| --- oadrResponse --------> |

What is pushed when, and what becomes of it, is as in 2.0b (`vtn.transport.v20b.push`).
"""

from dataclasses import replace

from openadr.signature.values import SignatureError
from openadr.v20a.encode import encode, simplified
from openadr.v20b.decode import WireError
from openadr.v20b.messages import DistributeEvent, Message
from vtn.transport.v20a.service import PATH, Vtn20a
from vtn.transport.v20b.push_client import Reply


class Push20a:
    """How VENs of 2.0a are pushed to."""

    def __init__(self, vtn: Vtn20a) -> None:
        self._vtn = vtn

    @staticmethod
    def carried(message: Message) -> Message:
        """Return a message without the events that 2.0a cannot carry, so that these do not count as sent."""
        if not isinstance(message, DistributeEvent):
            return message
        return replace(message, events=tuple(filter(None, map(simplified, message.events))))

    @staticmethod
    def posted(address: str, message: Message) -> tuple[str, bytes]:
        """Return where a message is posted, and its bytes. Raises InvalidError for one that 2.0a does not have."""
        return url_of(address), encode(message)

    async def answered(self, reply: Reply) -> None:
        """Take an oadrCreatedEvent that is the answer to a push. What is wrong with it is noted by who finds it."""
        if not reply.body.strip():
            return
        try:
            await self._vtn.answer(reply.peer, reply.body)
        except (WireError, SignatureError):
            return


def url_of(address: str) -> str:
    """Return where messages are posted; the address may already end in the service's path (PA-01)."""
    return address.rstrip("/").removesuffix(PATH).rstrip("/") + PATH
