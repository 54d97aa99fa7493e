"""The group-committing writer: many submissions, one durable commit, and no answer before it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from core.errors import EvenloadError, UnavailableError
from vtn.store.database import Database, LostTransactionError, Transaction
from vtn.store.engines import LOCK_WAIT_S
from vtn.store.errors import translated

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741  an item

Shared: TypeAlias = Callable[[Transaction, Mapping[str, I]], Awaitable[Mapping[str, T | EvenloadError]]]
"""Work for many submitters at once: from their items to their results (or what is wrong with theirs alone), by key."""

_MAX_WAITING: Final = 10_000
_QUIET_S: Final = 0.001

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one submitter wants. With a `key`, `work` is shared work, and `item` what this submitter gives to it."""

    work: Callable[..., Awaitable[Any]]
    answer: asyncio.Future[Any]
    patience: asyncio.TimerHandle
    key: str | None = None
    item: Any = None

    def begin(self) -> bool:
        """Wait no longer: it is being done. False if its submitter has gone."""
        self.patience.cancel()
        return not self.answer.done()

    def succeed(self, result: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class GroupWriter:
    """Runs submitted work, one after the other, in shared transactions.

    Each piece of work has its own savepoint: if it fails, it alone is rolled back, and its submitter alone gets the
    error. While one batch commits, the next one gathers; a submission waits up to `max_wait_s` (machine time) for
    company, as long as more keeps coming.
    """

    def __init__(
        self, db: Database, *, max_batch: int = 200, max_wait_s: float = 0.005, max_waiting: int = _MAX_WAITING
    ) -> None:
        self._db = db
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._max_waiting = max_waiting
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._open = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take work."""
        if self._task is None:
            self._open = True
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Refuse new work, finish what was submitted, and stop."""
        self._open = False
        self._arrived.set()
        task, self._task = self._task, None
        if task is not None:
            await task

    async def submit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction and return its result, after the commit.

        Raises what `work` raises; UnavailableError if the commit fails, too much is waiting, or the writer is closed.
        `work` touches the database through its transaction only, and never swallows an error of it. A submitter who
        is cancelled leaves it open whether the work was done.
        """
        answer: asyncio.Future[T] = self._put(work)
        return await answer

    async def submit_to(self, work: Shared[I, T], key: str, item: I) -> T:
        """Give an item to work that is done for many submitters in one go; otherwise as `submit`.

        The items of a batch go to one call of `work`, with one item for each key (the submitting VEN), and it does with
        a few statements what would take some for each. Where the call fails as a whole, it is rolled back and made
        again for each item alone, so that nobody suffers for another's item.
        """
        answer: asyncio.Future[T] = self._put(work, key, item)
        return await answer

    def _put(
        self, work: Callable[..., Awaitable[Any]], key: str | None = None, item: Any = None
    ) -> asyncio.Future[Any]:
        if not self._open:
            raise UnavailableError("The VTN is stopping. Try again.")
        if asyncio.current_task() is self._task:
            raise RuntimeError("submit() inside submitted work would wait for itself for ever")
        if len(self._waiting) >= self._max_waiting:
            raise UnavailableError(
                f"The VTN is busy: {len(self._waiting)} changes are waiting to be stored. Try later."
            )
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        patience = loop.call_later(LOCK_WAIT_S, _give_up, answer)
        self._waiting.append(_Job(work, answer, patience, key, item))
        self._arrived.set()
        return answer

    async def _run(self) -> None:
        try:
            while await self._gather():
                size = min(self._max_batch, len(self._waiting))
                await self._store([self._waiting.popleft() for _ in range(size)])
        finally:
            self._open = False
            while self._waiting:
                self._waiting.popleft().fail(UnavailableError("The VTN is stopping. Try again."))

    async def _gather(self) -> bool:
        """Wait for work, and a moment for more of it. Returns False when there is none and never will be."""
        while not self._waiting:
            if not self._open:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._max_wait_s):
                gathered = 0
                while self._open and gathered < len(self._waiting) < self._max_batch:
                    gathered = len(self._waiting)
                    await asyncio.sleep(_QUIET_S)
        return True

    async def _store(self, batch: list[_Job]) -> None:
        try:
            async with self._db.write() as tx:
                wanted = [job for job in batch if job.begin()]  # the others' submitters have gone
                outcomes = [outcome for unit in _units(wanted) for outcome in await self._attempt(tx, unit)]
        except BaseException as error:
            for job in batch:
                job.fail(_for_submitter(error))
            if not isinstance(error, EvenloadError):
                if not isinstance(error, Exception):
                    raise
                _log.exception("a batch of changes was not stored", size=len(batch))
            return
        for job, result in outcomes:
            if isinstance(result, Exception):
                job.fail(result)
            else:
                job.succeed(result)

    async def _attempt(self, tx: Transaction, unit: Sequence[_Job]) -> list[tuple[_Job, Any]]:
        """Run a unit in its savepoint; an exception in place of a result belongs to the submitter.

        Raises LostTransactionError if that takes the whole batch down.
        """
        try:
            with translated():
                async with tx.savepoint():
                    return await _run_unit(tx, unit)
        except LostTransactionError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure: Exception = UnavailableError("The work was cancelled; nothing of it is stored.")
        except Exception as error:  # noqa: BLE001  it belongs to the submitter
            failure = error
        if len(unit) == 1:
            return [(unit[0], failure)]
        return [outcome for job in unit for outcome in await self._attempt(tx, [job])]


def _give_up(answer: asyncio.Future[Any]) -> None:
    if not answer.done():
        answer.set_exception(UnavailableError("The VTN is busy: other changes take too long. Try again."))


def _units(jobs: Iterable[_Job]) -> list[Sequence[_Job]]:
    """Return what is run in one go: each job alone, or the jobs of a shared work, each key once."""
    units: list[dict[str, _Job]] = []
    latest: dict[object, dict[str, _Job]] = {}
    for job in jobs:
        if job.key is None:
            units.append({"": job})
            continue
        unit = latest.get(job.work)
        if unit is None or job.key in unit:
            unit = latest[job.work] = {}
            units.append(unit)
        unit[job.key] = job
    return [list(unit.values()) for unit in units]


async def _run_unit(tx: Transaction, unit: Sequence[_Job]) -> list[tuple[_Job, Any]]:
    job = unit[0]
    if job.key is None:
        return [(job, await job.work(tx))]
    results = await job.work(tx, {one.key: one.item for one in unit})
    return [(one, results[one.key]) for one in unit]


def _for_submitter(error: BaseException) -> UnavailableError:
    text = str(error) if isinstance(error, EvenloadError) else "The change could not be stored. Try again."
    ours = UnavailableError(text)
    ours.__cause__ = error
    return ours
