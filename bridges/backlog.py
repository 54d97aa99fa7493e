"""What the journal is to know but need not know first: it waits here while the disk is full.

A device is never kept because of its record: what a crash takes from here is done once more at the next start.
"""

from collections import deque
from collections.abc import Callable, Sequence

import structlog

from bridges.device import Outcome
from bridges.journal import Journal
from core.errors import UnavailableError

_log = structlog.get_logger(__name__)

JournalWrite = Callable[[], Sequence[Outcome]]
"""Writes to the journal, in one transaction, and returns the steps that are new."""


class Backlog:
    """Entries on their way to the journal, in order. `tell` gets every new step, once it is on disk."""

    def __init__(self, journal: Journal, tell: Callable[[Outcome], object]) -> None:
        self._journal = journal
        self._tell = tell
        self._entries: deque[JournalWrite] = deque()
        self._stuck = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: JournalWrite) -> None:
        """Write an entry now if the disk takes it, else as soon as it does."""
        self._entries.append(entry)
        self.flush()

    def flush(self) -> bool:
        """Write what waits; False if the disk does not take it yet."""
        while self._entries:
            try:
                with self._journal.transaction():
                    steps = self._entries[0]()
            except UnavailableError as error:
                if not self._stuck:
                    _log.error("the record of a lease cannot be kept now; devices are given back", reason=str(error))
                self._stuck = True
                return False
            self._entries.popleft()
            for step in steps:
                self._tell(step)
        if self._stuck:
            _log.info("the records of all leases are kept again")
        self._stuck = False
        return True
