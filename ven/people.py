"""What people ask of a gateway: opts and times away from the command line, and the hand on a device."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

import structlog

from core.clock import Clock
from core.errors import ConflictError, EvenloadError, InvalidError, UnavailableError
from core.spans import Duration
from openadr.model.opt import Availability, OptType
from ven.engine import Action, Engine
from ven.store import AbsenceWish, Store

_log = structlog.get_logger(__name__)


class People:
    """Passes on to the engine what people want. `act` gets what follows from it.

    With `by_create_opt` the VTN hears by EiOpt what they choose of an event, where that may be said so (OP-01).
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        clock: Clock,
        act: Callable[[Iterable[Action]], None],
        *,
        by_create_opt: bool = False,
    ) -> None:
        self._by_create_opt = by_create_opt
        self._engine = engine
        self._store = store
        self._clock = clock
        self._act = act

    def took_over(self, event_id: str) -> None:
        """Opt out of an event since somebody switched the device by hand."""
        self._opt(event_id, OptType.OUT, "overrideStatus")

    def serve(self) -> None:
        """Act on what was asked for at the command line, once the VTN can be told of it. Raises UnavailableError."""
        if self._engine.registration is None:
            return
        for wish in self._store.wishes():
            self._opt(wish.event_id, wish.opt, wish.reason)
            self._store.granted(wish)
        for absence in self._store.absence_wishes():
            self._taken("schedule", partial(self._absent, absence))
            self._store.absence_granted(absence)

    def _opt(self, event_id: str, opt: OptType, reason: str) -> None:
        self._taken(f"{opt} of event {event_id}", partial(self._chosen, event_id, opt, reason))

    def _chosen(self, event_id: str, opt: OptType, reason: str) -> list[Action]:
        now = self._clock.now()
        if self._by_create_opt:
            with suppress(ConflictError):  # of what wants no answer, or was cancelled, no more is said (OP-10)
                return self._engine.opt(event_id, opt, reason, now, qualify=True)
        return self._engine.opt(event_id, opt, reason, now)

    def _absent(self, absence: AbsenceWish) -> list[Action]:
        if absence.ends_opt_id is not None:
            self._engine.cancel_opt(absence.ends_opt_id)
            return []
        if absence.end <= self._clock.now():
            raise InvalidError("The time away is over.")
        span = Availability(absence.start, Duration.between(absence.start, absence.end))
        _, actions = self._engine.schedule_opt([span], OptType.OUT, absence.reason, self._clock.now())
        return actions

    def _taken(self, what: str, work: Callable[[], list[Action]]) -> None:
        """Let the engine opt; what it does not take is a line in the log."""
        try:
            self._act(work())
        except UnavailableError:
            raise
        except EvenloadError as error:
            _log.warning("an opt was not taken", what=what, reason=str(error))
