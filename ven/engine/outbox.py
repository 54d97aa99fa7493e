"""What waits to be said: answers and opts that the memory holds, each with its own back-off."""

from typing import Final

from core.errors import InvalidError
from openadr.v20b.messages import CancelOpt, CreatedEvent, CreateOpt, Message
from ven.engine.pacing import Retries
from ven.memory import Memory, Waiting

MOST_TRIES: Final = 10
"""A message that breaks the server so many times is set aside."""


class Outbox:
    """Chooses among the waiting messages: oldest first, and one that failed holds back none but those about the same.

    An opt that came later must not overtake an earlier one for the same event.
    """

    def __init__(self, memory: Memory, retries: Retries) -> None:
        self._memory = memory
        self._retries = retries
        self._subjects: dict[int, frozenset[str]] = {}
        self._tried: set[int] = set()

    def start(self) -> None:
        """Forget what failed: the process, or its memory, was away."""
        self._subjects.clear()
        self._tried.clear()

    def next(self) -> Waiting | None:
        """Return the message that may go out now, or None. New ones go before those that failed."""
        again: Waiting | None = None
        taken: set[str] = set()
        seqs = self._memory.waiting_seqs()
        self._subjects = {seq: self._subjects[seq] for seq in seqs if seq in self._subjects}
        self._tried.intersection_update(seqs)
        for seq in seqs:
            mine = self._subjects.get(seq)
            if mine is None or (mine.isdisjoint(taken) and self._retries.ready(seq)):
                waiting = self._read(seq)
                if waiting is None:
                    continue
                mine = self._subjects[seq] = _subjects(waiting.message)
                if mine.isdisjoint(taken) and self._retries.ready(seq):
                    if seq not in self._tried:
                        return waiting
                    again = again or waiting
            taken |= mine
        return again

    def _read(self, seq: int) -> Waiting | None:
        try:
            return self._memory.waiting(seq)
        except InvalidError as error:
            self._memory.bury(seq, str(error))
            return None

    def failed(self, waiting: Waiting, least_s: float) -> None:
        """Let a message wait for its back-off."""
        self._tried.add(waiting.seq)
        self._retries.failed(waiting.seq, least_s=least_s)

    def broke(self, waiting: Waiting) -> bool:
        """Count that the server broke on a message; tell whether that was once too often."""
        self._memory.tried(waiting.seq)
        return waiting.tries + 1 >= MOST_TRIES

    def bury(self, waiting: Waiting, reason: str) -> None:
        """Set a message aside that the VTN will never take."""
        self._memory.bury(waiting.seq, reason)
        self._retries.over(waiting.seq)

    def done(self, waiting: Waiting) -> None:
        """Remove a message that has arrived."""
        self._memory.done(waiting.seq)
        self._retries.over(waiting.seq)


def _subjects(message: Message) -> frozenset[str]:
    """Return what a message is about, as far as the order of such messages counts."""
    match message:
        case CreatedEvent():
            return frozenset(f"event {answer.event_id}" for answer in message.event_responses)
        case CreateOpt():
            return frozenset({f"event {message.opt.event_id}" if message.opt.event_id else f"opt {message.opt.opt_id}"})
        case CancelOpt():
            return frozenset({f"opt {message.opt_id}"})
    return frozenset()
